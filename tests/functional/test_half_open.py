"""Thousands of half-open connections harm no call.

The handshake rate limits are off, so that the connections get as far as possible. `make attack` opens 10,000 of them.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.generator.plan import Plan
from bench.process_stats import memory
from bench.scenarios.integrity import differences
from tests.functional.half_open import HalfOpen
from tests.functional.place import Place
from tests.functional.wheel import ROOT

VOICE = ROOT / "tests/audio/call.wav"
CALLS = 100
#: Number of connections in `make test`, unless the environment sets another.
STRANGERS = int(os.environ.get("HALF_OPEN", "2000"))
#: Seconds in which Genesys Cloud expects a pong, and the stricter limit for nearly all pongs here.
PONG_LIMIT = 5.0
USUAL_PONG = 0.5
#: Memory that may remain allocated. It is 12 MiB after 2,000 connections, mostly the heap for the maximum number at
#: once (1,024, and 200 calls), and the same after 50,000.
REMAINS = 24 << 20


@pytest.fixture
def unlimited(place: Any) -> Place:
    there: Place = place()
    listen = {"endpoint": f"tcp:{there.port}:interface=127.0.0.1", "max_sessions": 2 * CALLS}
    there.write(listen=listen, limits={"handshakes_per_second": 0, "handshakes_per_second_total": 0})
    return there


def calls(there: Place, steady: float) -> dict[str, Any]:
    """Makes a hundred calls in real time, and returns their results."""
    plan = Plan(there.port, there.directory / "keys.json", VOICE, sessions=CALLS, arrival=2.0, settle=0.5)
    plan = plan._replace(steady=steady, ping=1.0, ledger=True)
    command = [sys.executable, "-m", "bench.generator", *plan.arguments()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def rest(pid: int) -> int:
    """The memory of the process in bytes, after it has closed the connections that its peers closed."""
    deadline = time.monotonic() + 15
    while len(os.listdir(f"/proc/{pid}/fd")) > 60 and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1.0)
    return memory(pid).pss


def test_no_call_is_harmed_and_the_memory_is_freed(unlimited: Place) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert most >= STRANGERS + 100, f"{STRANGERS} connections need open files: ulimit -n {STRANGERS + 1000}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with unlimited.daemon() as daemon:
        pid = daemon.process.pid
        calls(unlimited, steady=0.5)  # allocates the memory that the daemon needs for calls
        before = rest(pid)
        with HalfOpen(unlimited.port, STRANGERS) as half_open:
            result = calls(unlimited, steady=4.0)
            during = memory(pid).pss
        after = rest(pid)
    _tell(half_open, result, before, during, after)
    assert half_open.begun >= STRANGERS
    assert (result["failures"], result["closed"]) == ({}, CALLS)
    assert result["round_trip"]["count"] >= 3 * CALLS
    assert result["round_trip"]["max"] < PONG_LIMIT * 1000
    assert result["round_trip"]["p90"] < USUAL_PONG * 1000
    _expect_all_recorded(unlimited.spool, result["ledger"])
    assert after <= before + REMAINS


def _expect_all_recorded(spool: Path, ledger: list[list[Any]]) -> None:
    """Byte for byte; of the calls before, all the spool may say is that they are there as well."""
    wrong = [line for line in differences(spool, ledger) if "duplicate, or of no call" not in line]
    assert wrong == []
    assert len(list(spool.glob("ready/*/*.wav"))) == 2 * len(ledger) == 2 * CALLS


def _tell(half_open: HalfOpen, result: dict[str, Any], before: int, during: int, after: int) -> None:
    pongs, mib = result["round_trip"], 1 << 20
    print(
        f"\n{half_open.begun} half-open connections, {half_open.ended} of them ended by the daemon;"
        f" {CALLS} calls, {pongs['count']} pongs: p50 {pongs['p50']:.1f} ms, p99 {pongs['p99']:.1f} ms,"
        f" max {pongs['max']:.1f} ms; memory {before / mib:.1f} MiB before, {during / mib:.1f} with them,"
        f" {after / mib:.1f} after"
    )
