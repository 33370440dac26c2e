"""What a call takes of memory, and whether it takes more as it goes on."""

import statistics
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from bench.process_stats import Memory
from bench.result import Report, Result, median
from bench.scenarios.runner import Runner, kib_per_call
from bench.servers import SPOOL, serving

#: KiB of each live recorded call, above what the idle daemon has.
WANTED = 48.0
SESSIONS = 500
#: An hour of calls in three minutes. With the interval of commits as much shorter, what waits for the disk is as much
#: as in an hour.
HOUR = {"sessions": 40, "speed": 20.0, "steady": 180.0, "arrival": 1.0, "settle": 15.0}
FLUSH = 0.025
SAMPLES = 60
#: KiB that each call may have more in the last third of the hour than in the first: noise of the allocator.
FLAT = 4.0
#: Calls that come and go: 20,000, or enough to see whether something is wrong.
TURN: Mapping[str, Any] = MappingProxyType({"sessions": 1000, "arrival": 5.0, "steady": 1.0})
TURNS = {True: 20, False: 3}
#: KiB that the idle daemon may have more in the last third of them than in the first.
REMAINS = 1024.0


def memory(site: Runner) -> Report:
    """Of live calls above the idle daemon."""
    runs = [site.run("daemon", sessions=SESSIONS, steady=site.extent.steady) for _ in range(site.extent.pairs)]
    value, spread = median([kib_per_call(run) for run in runs])
    note = f"the idle daemon has {runs[0].idle.private_dirty / 2**20:.0f} MiB of its own"
    what = f"memory of each live recorded call, {SESSIONS} calls"
    finding = Result("memory", what, value, "KiB", WANTED, spread, note)
    return Report("memory", [finding], [run.row() for run in runs])


def hour(site: Runner) -> Report:
    """Whether an hour of calls leaves something behind in memory."""
    run = site.run("daemon", {"spool": dict(SPOOL) | {"flush_interval": FLUSH}}, SAMPLES, **HOUR)
    sessions = run.plan.sessions
    value = grown(run.samples) / sessions / 1024
    minutes = run.plan.steady * run.plan.speed / 60
    what = f"memory that each of {sessions} calls has more after {minutes:.0f} minutes"
    row = run.row() | {"samples": run.samples}
    return Report("hour", [Result("hour", what, value, "KiB", FLAT)], [row])


def turnover(site: Runner) -> Report:
    """Whether calls that have ended leave something behind in memory."""
    with serving("daemon", site.cores) as server:
        runs = [site.run_against(server, **TURN) for _ in range(TURNS[site.extent.is_full])]
    idle = [run.idle for run in runs[1:]]  # after so many calls
    calls = sum(run.plan.sessions for run in runs)
    what = f"memory that the idle daemon has more in the last third of {calls:,} calls than in the first"
    note = f"{idle[0].private_dirty / 2**20:.1f} MiB after the first {runs[0].plan.sessions:,}"
    finding = Result("turnover", what, grown(idle) / 1024, "KiB", REMAINS, note=note)
    return Report("turnover", [finding], [run.row() for run in runs])


def grown(samples: Sequence[Memory]) -> float:
    """Bytes that are there more in the last third of ``samples`` than in the first, by their medians."""
    third = max(1, len(samples) // 3)
    own = [sample.private_dirty for sample in samples]
    return statistics.median(own[-third:]) - statistics.median(own[:third])
