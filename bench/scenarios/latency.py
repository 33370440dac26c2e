"""Measures how long clients wait for responses."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from bench.load import Run, plan_for, run
from bench.result import Report, Result, median
from bench.scenarios.runner import Runner
from bench.servers import MAX_SESSIONS, serving

#: The number of calls, and the seconds in which they arrive. Each sends audio as soon as it is open.
ARRIVING, SECONDS = 500, 5.0
#: Milliseconds, 99th percentile. Genesys Cloud gives up after 5 s in both cases.
TARGET_OPENED, TARGET_PONG = 100.0, 10.0
#: The share of a processor at which pongs are measured, and the number of calls of the first trial run.
SHARE, TRIAL = 0.50, 500
#: The number of calls that measure pongs, in a separate process; the seconds from one ``ping`` of a call to the next,
#: and between two checks for responses. The process that makes the load is busy a quarter of the time, and reads
#: pongs late.
PROBING, PING, TICK = 40, 0.2, 0.0005
#: Seconds from the last call of the load to the first measurement.
SETTLE = 2.0
#: Of the load process. It shares processors with the measuring process, which would read its pongs late otherwise.
NICENESS = 10


def arrivals(runner: Runner) -> Report:
    """Measures ``open`` to ``opened`` while calls arrive."""
    plan: dict[str, Any] = {"sessions": ARRIVING, "arrival": SECONDS, "steady": runner.effort.steady}
    runs = [runner.run("daemon", **plan) for _ in range(runner.effort.pairs)]
    value, spread = median([run.result["opened"]["p99"] for run in runs])
    description = f"open to opened, p99, {ARRIVING} calls arriving in {SECONDS:.0f} s"
    finding = Result("opened", description, value, "ms", TARGET_OPENED, spread, _longest("opened", runs))
    return Report("arrivals", [finding], [run.row() for run in runs])


def pongs(runner: Runner) -> Report:
    """Measures ``ping`` to ``pong`` while the daemon uses half a processor."""
    sessions = _sessions(runner)
    runs = [_measure(runner, sessions) for _ in range(runner.effort.pairs)]
    value, spread = median([run.probing.result["round_trip"]["p99"] for run in runs])
    share, _ = median([run.load.share for run in runs])
    description = f"ping to pong, p99, {sessions} calls, {share:.0%} of a processor"
    stolen, _ = median([run.load.stolen_share for run in runs])
    note = f"{_longest('round_trip', [run.probing for run in runs])}; {stolen:.1%} of the processor stolen"
    finding = Result("pong", description, value, "ms", TARGET_PONG, spread, note)
    rows = [run.load.row() | {"round_trip": run.probing.result["round_trip"]} for run in runs]
    return Report("pongs", [finding], rows)


def _sessions(runner: Runner) -> int:
    """The number of calls that use ``SHARE`` of the processor. A frame costs less if there are more calls."""
    sessions = TRIAL
    for _ in range(2):
        sessions = sessions_for(SHARE, _measure(runner, sessions).load.share, sessions)
    return sessions


class _Measured(NamedTuple):
    load: Run
    probing: Run


def _measure(runner: Runner, sessions: int) -> _Measured:
    """Runs ``sessions`` calls as load, and further calls that measure pongs."""
    arrival, steady = sessions / 100, runner.effort.steady
    load: dict[str, Any] = {"sessions": sessions, "arrival": arrival, "settle": SETTLE}
    probing: dict[str, Any] = {"sessions": PROBING, "arrival": PROBING / 100, "settle": arrival + SETTLE}
    with serving("daemon", runner.cores) as server, ThreadPoolExecutor(1) as threads:
        loading = threads.submit(runner.run_against, server, niceness=NICENESS, **load, steady=steady + SETTLE)
        probed = run(server, runner.cores, plan_for(server, **probing, steady=steady, ping=PING, tick=TICK))
        return _Measured(loading.result(), probed)


def sessions_for(share: float, measured: float, sessions: int) -> int:
    """The number of calls that use ``share`` of a processor if ``sessions`` calls use ``measured``, in tens."""
    return min(max(10, int(sessions * share / measured) // 10 * 10), MAX_SESSIONS)


def _longest(which: str, runs: list[Run]) -> str:
    return f"longest {max(run.result[which]['max'] for run in runs):.0f} ms"
