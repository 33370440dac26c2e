"""How long everybody waits at worst, when all comes at once."""

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

from bench.cpu_affinity import kept_to
from bench.load import Run
from bench.result import Report, Result, median
from bench.scenarios.runner import Runner
from bench.servers import Server, daemon
from tests.stores.recordings import fill
from tests.stores.seaweedfs import SeaweedFS

#: Milliseconds.
WANTED = 50.0
SESSIONS, UPLOADS = 500, 200
#: Seconds of each recording that is uploaded.
LENGTH = 30.0
#: From one ``ping`` of the probe to the next.
PROBE = 0.005
#: Seconds from one look for answers to the next.
TICK = 0.001
BUCKET = "bench"
_STORED = re.compile(r"^audiohookd_recordings_stored_total\{.*\} (\d+)$", re.MULTILINE)


def stall(site: Runner) -> Report:
    """Of a session without audio that pings 200 times a second, the longest wait for a pong."""
    runs = [_run(site) for _ in range(site.extent.pairs)]
    value, spread = median([each.run.result["probe"]["max"] for each in runs])
    uploads, _ = median([each.uploads for each in runs])
    what = f"longest wait for a pong, {SESSIONS} calls, {uploads:.0f} uploads, scrapes and SIGHUPs at once"
    finding = Result("stall", what, value, "ms", WANTED, spread, _note([each.run for each in runs]))
    return Report("stall", [finding], [each.run.row() | {"uploads": each.uploads} for each in runs])


class _Busy(NamedTuple):
    run: Run
    uploads: int


def _run(site: Runner) -> _Busy:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="audiohookd-bench-")))
        with kept_to(site.cores.others):
            store = stack.enter_context(SeaweedFS(directory / "store"))
        _give_way(store.pid)
        store.create_bucket(BUCKET)
        fill(directory / "waiting", UPLOADS, LENGTH)
        carrying = {"bucket": BUCKET, "endpoint_url": store.endpoint, "path_style": True}
        tables = {"plugins.s3": carrying}
        server = stack.enter_context(daemon(site.cores, directory, tables, store.credentials()))
        _hand_over(directory / "waiting", server.spool)
        with _bothering(server):
            run = site.run_against(server, sessions=SESSIONS, steady=2 * site.extent.steady, probe=PROBE, tick=TICK)
        return _Busy(run, _stored(server))


def _note(runs: list[Run]) -> str:
    p999, _ = median([run.result["probe"]["p999"] for run in runs])
    turn, _ = median([run.result["longest_turn"] for run in runs])
    stolen, _ = median([run.stolen_share for run in runs])
    return f"p999 {p999:.0f} ms; the generator's own longest turn {turn:.0f} ms; {stolen:.1%} of the processor stolen"


def _give_way(pid: int) -> None:
    """The store shares processors with the generator, whose clock counts."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.setpriority(os.PRIO_PROCESS, int(task.name), 10)


def _hand_over(waiting: Path, spool: Path) -> None:
    """Recordings that were made beforehand become the daemon's."""
    for path in sorted(waiting.glob("ready/*/*")):
        shelf = spool / "ready" / path.parent.name
        shelf.mkdir(exist_ok=True)
        path.rename(shelf / path.name)
    (spool / "wake").touch()


@contextmanager
def _bothering(server: Server) -> Iterator[None]:
    """Scrapes the counters and sends SIGHUP, each second."""
    enough = Event()

    def bother() -> None:
        while not enough.wait(1.0):
            _scrape(server)
            os.kill(server.pid, signal.SIGHUP)

    thread = Thread(target=bother)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def _scrape(server: Server) -> str:
    with urlopen(f"http://127.0.0.1:{server.admin_port}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def _stored(server: Server) -> int:
    return sum(map(int, _STORED.findall(_scrape(server))))
