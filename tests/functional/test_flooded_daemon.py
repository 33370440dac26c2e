"""Calls beside authentic sessions that flood the daemon: the time from the connection to ``opened``.

`make attack` has 60 and 150 such sessions of each kind, and a limit on that time.
"""

import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench.process_stats import processor
from tests.functional.caller import Caller
from tests.functional.floods import KINDS
from tests.functional.place import Place

ROOT = Path(__file__).parents[2]

#: Number of flooding sessions in `make test`, unless the environment sets another.
FLOODERS = [int(number) for number in os.environ.get("FLOODERS", "10").split()]
#: Seconds of each flood.
DURATION = float(os.environ.get("FLOOD_SECONDS", "2"))
#: Maximum seconds from the connection to ``opened``, for 99 % of calls. In `make test` other tests need CPU time too.
LIMIT = 0.2 if "FLOODERS" in os.environ else 2.0
#: Seconds between two calls.
PAUSE = 0.02


class Figures(NamedTuple):
    """The sorted times of calls during a flood, in seconds, and the daemon's share of a processor."""

    opened: list[float]
    pongs: list[float]
    processor: float

    def line(self, name: str) -> str:
        def figures(times: list[float]) -> str:
            return "".join(f"{1000 * part:8.1f}" for part in (statistics.median(times), last(times), times[-1]))

        return f"{name:20} {len(self.opened):6}{figures(self.opened)}{figures(self.pongs)}{self.processor:8.2f}"


def last(times: list[float]) -> float:
    """The 99th percentile of sorted times."""
    return times[min(len(times) - 1, int(len(times) * 0.99))]


@contextmanager
def flooded(port: int, kind: str, sessions: int) -> Iterator[None]:
    """Runs a flood inside the block."""
    command = [sys.executable, "-m", "tests.functional.floods", str(port), kind, str(sessions)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield
            assert process.poll() is None
        finally:
            process.stdin.close()


def calls(port: int, pid: int) -> Figures:
    """Makes one call after the other for :data:`DURATION` seconds."""
    opened, pongs = [], []
    since, used = time.monotonic(), processor(pid)
    while time.monotonic() < since + DURATION:
        begun = time.perf_counter()
        with Caller(port) as caller:
            caller.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            assert caller.open()["type"] == "opened"
            opened.append(time.perf_counter() - begun)
            caller.audio(bytes(1600))
            begun = time.perf_counter()
            caller.say("ping")
            assert caller.hear()["type"] == "pong"
            pongs.append(time.perf_counter() - begun)
            assert caller.close()["type"] == "closed"
        time.sleep(PAUSE)
    share = (processor(pid) - used) / (time.monotonic() - since)
    return Figures(sorted(opened), sorted(pongs), share)


@pytest.fixture(scope="module")
def title() -> None:
    print(f"\n{'':20}  calls  opened: p50, p99, max    pong: p50, p99, max  processors")


@pytest.mark.parametrize("sessions", FLOODERS)
@pytest.mark.parametrize("kind", ["none", *KINDS])
def test_calls_beside_a_flood_are_opened_in_time(title: None, place: Any, kind: str, sessions: int) -> None:
    there: Place = place()
    with there.daemon() as daemon:
        calls_alone = sessions if kind != "none" else 0
        if calls_alone:
            with flooded(there.port, kind, sessions):
                figures = calls(there.port, daemon.process.pid)
        else:
            figures = calls(there.port, daemon.process.pid)
    print(figures.line(f"{sessions} {kind}" if calls_alone else "no flood"))
    assert last(figures.opened) < LIMIT
