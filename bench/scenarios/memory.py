"""Measures the memory of a call, and whether it grows during the call."""

import statistics
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from bench.process_stats import Memory
from bench.result import Report, Result, median
from bench.scenarios.runner import Runner, kib_per_call
from bench.servers import SPOOL, serving

#: KiB of each live recorded call, above the memory of the idle daemon.
TARGET = 48.0
SESSIONS = 500
#: An hour of calls in three minutes. The interval of commits is shorter by the same factor, so that as much data
#: waits for the disk as in an hour.
HOUR = {"sessions": 40, "speed": 20.0, "steady": 180.0, "arrival": 1.0, "settle": 15.0}
FLUSH = 0.025
SAMPLES = 60
#: The growth in KiB that each call may have from the first third of the hour to the last: noise of the allocator.
FLAT = 4.0
#: Calls that start and end: 20,000, or enough to show an error.
TURN: Mapping[str, Any] = MappingProxyType({"sessions": 1000, "arrival": 5.0, "steady": 1.0})
TURNS = {True: 20, False: 3}
#: The growth in KiB that the idle daemon may have from the first third of them to the last.
REMAINS = 1024.0


def memory(runner: Runner) -> Report:
    """Measures the memory of live calls, above the idle daemon."""
    runs = [runner.run("daemon", sessions=SESSIONS, steady=runner.effort.steady) for _ in range(runner.effort.pairs)]
    value, spread = median([kib_per_call(run) for run in runs])
    note = f"the idle daemon has {runs[0].idle.private_dirty / 2**20:.0f} MiB"
    description = f"memory of each live recorded call, {SESSIONS} calls"
    finding = Result("memory", description, value, "KiB", TARGET, spread, note)
    return Report("memory", [finding], [run.row() for run in runs])


def hour(runner: Runner) -> Report:
    """Measures whether memory grows during an hour of calls."""
    run = runner.run("daemon", {"spool": dict(SPOOL) | {"flush_interval": FLUSH}}, SAMPLES, **HOUR)
    sessions = run.plan.sessions
    value = grown(run.samples) / sessions / 1024
    minutes = run.plan.steady * run.plan.speed / 60
    description = f"memory growth of each of {sessions} calls after {minutes:.0f} minutes"
    row = run.row() | {"samples": run.samples}
    return Report("hour", [Result("hour", description, value, "KiB", FLAT)], [row])


def turnover(runner: Runner) -> Report:
    """Measures whether ended calls leave memory behind."""
    with serving("daemon", runner.cores) as server:
        runs = [runner.run_against(server, **TURN) for _ in range(TURNS[runner.effort.is_full])]
    idle = [run.idle for run in runs[1:]]  # after the calls of the previous runs
    calls = sum(run.plan.sessions for run in runs)
    description = f"memory growth of the idle daemon from the first third of {calls:,} calls to the last"
    note = f"{idle[0].private_dirty / 2**20:.1f} MiB after the first {runs[0].plan.sessions:,}"
    finding = Result("turnover", description, grown(idle) / 1024, "KiB", REMAINS, note=note)
    return Report("turnover", [finding], [run.row() for run in runs])


def grown(samples: Sequence[Memory]) -> float:
    """The growth in bytes from the first third of ``samples`` to the last, by their medians."""
    third = max(1, len(samples) // 3)
    own = [sample.private_dirty for sample in samples]
    return statistics.median(own[-third:]) - statistics.median(own[:third])
