"""Calls are recorded while the system refuses new threads, as with a full pids cgroup."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from tests.functional.caller import Caller
from tests.functional.daemon import Daemon, DaemonDied
from tests.functional.place import Place
from tests.functional.test_operation import status_of
from tests.programs import find_program, needs_compiler

pytestmark = needs_compiler

#: Seconds without threads, during the first call and some commits.
OUTAGE = 2.0


@pytest.fixture
def no_threads(tmp_path: Path) -> dict[str, str]:
    """The environment of a daemon that cannot create threads while ``tmp_path/no-threads`` exists."""
    library = tmp_path / "no_threads.so"
    compiler = find_program("cc")
    source = Path(__file__).with_name("no_threads.c")
    subprocess.run([str(compiler), "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, timeout=60)
    return {"LD_PRELOAD": str(library), "NO_THREADS": str(tmp_path / "no-threads")}


def test_two_seconds_without_threads_cost_no_audio(
    place: Callable[..., Place], no_threads: dict[str, str], tmp_path: Path
) -> None:
    there = place(shutdown={"drain_timeout": "1 s"})
    switch = tmp_path / "no-threads"
    with Daemon(there.bin, there.config, no_threads) as daemon, Caller(there.port) as caller:
        switch.touch()
        caller.open()
        end = time.monotonic() + OUTAGE
        while time.monotonic() < end:
            caller.audio(bytes(range(256)) * 4)
            time.sleep(0.05)
        switch.unlink()
        caller.audio(bytes(1024))
        caller.close()
        (sidecar,) = there.sidecars(1)
        assert status_of(there, "/ready") == 200
        assert "Traceback" not in daemon.log()
    assert soundfile.info(sidecar["wav"]).frames == caller.samples


def test_a_daemon_that_cannot_make_its_threads_does_not_start(
    place: Callable[..., Place], no_threads: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "no-threads").touch()
    with pytest.raises(DaemonDied) as died, Daemon(place().bin, place().config, no_threads):
        raise AssertionError("it started")
    (line,) = [line for line in str(died.value).splitlines() if "audiohookd: " in line]
    assert line.endswith("raise TasksMax= of the systemd unit, pids.max of the container, or ulimit -u")
    assert "spool-writer: the system refuses a thread" in line
