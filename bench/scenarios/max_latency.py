"""Measures the longest wait of a client under all loads at once."""

import os
import re
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple
from urllib.request import urlopen

from bench.cpu_affinity import pinned_to
from bench.load import Run
from bench.result import Report, Result, median
from bench.scenarios.runner import Runner
from bench.servers import Server, daemon
from tests.stores.recordings import fill
from tests.stores.seaweedfs import SeaweedFS

#: Milliseconds.
TARGET = 50.0
SESSIONS, UPLOADS = 500, 200
#: Seconds of audio in each uploaded recording.
LENGTH = 30.0
#: Seconds from one ``ping`` of the probe to the next.
PROBE = 0.005
#: Seconds between two checks for responses.
TICK = 0.001
BUCKET = "bench"
_STORED = re.compile(r"^audiohookd_recordings_stored_total\{.*\} (\d+)$", re.MULTILINE)


def stall(runner: Runner) -> Report:
    """Measures the longest wait for a pong in a session without audio that sends 200 pings per second."""
    runs = [_run(runner) for _ in range(runner.effort.pairs)]
    value, spread = median([busy.run.result["probe"]["max"] for busy in runs])
    uploads, _ = median([busy.uploads for busy in runs])
    description = f"longest wait for a pong, {SESSIONS} calls, {uploads:.0f} uploads, scrapes and SIGHUPs at once"
    finding = Result("stall", description, value, "ms", TARGET, spread, _note([busy.run for busy in runs]))
    return Report("stall", [finding], [busy.run.row() | {"uploads": busy.uploads} for busy in runs])


class _Busy(NamedTuple):
    run: Run
    uploads: int


def _run(runner: Runner) -> _Busy:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="audiohookd-bench-")))
        with pinned_to(runner.cores.others):
            store = stack.enter_context(SeaweedFS(directory / "store"))
        _lower_priority(store.pid)
        store.create_bucket(BUCKET)
        fill(directory / "waiting", UPLOADS, LENGTH)
        s3 = {"bucket": BUCKET, "endpoint_url": store.endpoint, "path_style": True}
        tables = {"plugins.s3": s3}
        server = stack.enter_context(daemon(runner.cores, directory, tables, store.credentials()))
        _move_to_spool(directory / "waiting", server.spool)
        with _scrapes_and_reloads(server):
            run = runner.run_against(
                server, sessions=SESSIONS, steady=2 * runner.effort.steady, probe=PROBE, tick=TICK
            )
        return _Busy(run, _stored(server))


def _note(runs: list[Run]) -> str:
    p999, _ = median([run.result["probe"]["p999"] for run in runs])
    turn, _ = median([run.result["longest_turn"] for run in runs])
    stolen, _ = median([run.stolen_share for run in runs])
    return f"p999 {p999:.0f} ms; the generator's own longest turn {turn:.0f} ms; {stolen:.1%} of the processor stolen"


def _lower_priority(pid: int) -> None:
    """The store shares processors with the generator, which must measure the time without delay."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(task.name), 10)


def _move_to_spool(waiting: Path, spool: Path) -> None:
    """Moves prepared recordings to the daemon's spool."""
    for path in sorted(waiting.glob("ready/*/*")):
        day = spool / "ready" / path.parent.name
        day.mkdir(exist_ok=True)
        path.rename(day / path.name)
    (spool / "wake").touch()


@contextmanager
def _scrapes_and_reloads(server: Server) -> Iterator[None]:
    """Scrapes the counters and sends SIGHUP every second."""
    ended = Event()

    def scrape_and_reload() -> None:
        while not ended.wait(1.0):
            _scrape(server)
            os.kill(server.pid, signal.SIGHUP)

    thread = Thread(target=scrape_and_reload)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _scrape(server: Server) -> str:
    with urlopen(f"http://127.0.0.1:{server.admin_port}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def _stored(server: Server) -> int:
    return sum(map(int, _STORED.findall(_scrape(server))))
