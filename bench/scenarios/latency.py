"""How long clients wait for answers."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from bench.load import Run, plan_for, run
from bench.result import Report, Result, median
from bench.scenarios.runner import Runner
from bench.servers import MAX_SESSIONS, serving

#: Calls that arrive in so many seconds, each talking as soon as it is open.
ARRIVING, SECONDS = 500, 5.0
#: Milliseconds, 99th percentile. Genesys Cloud gives up after 5 s in both cases.
WANTED_OPENED, WANTED_PONG = 100.0, 10.0
#: Part of a processor at which pongs are measured, and the calls with which it is found out how many that takes.
SHARE, TRIAL = 0.50, 500
#: The calls that ask then, in a process of their own; the seconds from one ``ping`` of each to the next, and from one
#: look for answers to the next. The process that makes the load is busy a quarter of the time, and finds them late.
ASKING, PING, TICK = 40, 0.2, 0.0005
#: Seconds from the last call of the load to the first measurement.
SETTLE = 2.0
#: The load shares processors with those that ask, who would find their pongs late if it did not give way.
NICENESS = 10


def arrivals(site: Runner) -> Report:
    """``open`` to ``opened`` while calls arrive."""
    plan: dict[str, Any] = {"sessions": ARRIVING, "arrival": SECONDS, "steady": site.extent.steady}
    runs = [site.run("daemon", **plan) for _ in range(site.extent.pairs)]
    value, spread = median([run.result["opened"]["p99"] for run in runs])
    what = f"open to opened, p99, {ARRIVING} calls arriving in {SECONDS:.0f} s"
    finding = Result("opened", what, value, "ms", WANTED_OPENED, spread, _longest("opened", runs))
    return Report("arrivals", [finding], [run.row() for run in runs])


def pongs(site: Runner) -> Report:
    """``ping`` to ``pong`` while the daemon has half a processor to do."""
    sessions = _sessions(site)
    runs = [_ask(site, sessions) for _ in range(site.extent.pairs)]
    value, spread = median([each.asking.result["round_trip"]["p99"] for each in runs])
    share, _ = median([each.load.share for each in runs])
    what = f"ping to pong, p99, {sessions} calls, {share:.0%} of a processor"
    stolen, _ = median([each.load.stolen_share for each in runs])
    note = f"{_longest('round_trip', [each.asking for each in runs])}; {stolen:.1%} of the processor stolen"
    finding = Result("pong", what, value, "ms", WANTED_PONG, spread, note)
    rows = [each.load.row() | {"round_trip": each.asking.result["round_trip"]} for each in runs]
    return Report("pongs", [finding], rows)


def _sessions(site: Runner) -> int:
    """How many calls take so much of the processor, with those that ask. A frame costs less the more there are."""
    sessions = TRIAL
    for _ in range(2):
        sessions = sessions_for(SHARE, _ask(site, sessions).load.share, sessions)
    return sessions


class _Asked(NamedTuple):
    load: Run
    asking: Run


def _ask(site: Runner, sessions: int) -> _Asked:
    """``sessions`` calls, and some more that ask in the midst of them."""
    arrival, steady = sessions / 100, site.extent.steady
    load: dict[str, Any] = {"sessions": sessions, "arrival": arrival, "settle": SETTLE}
    asking: dict[str, Any] = {"sessions": ASKING, "arrival": ASKING / 100, "settle": arrival + SETTLE}
    with serving("daemon", site.cores) as server, ThreadPoolExecutor(1) as threads:
        loading = threads.submit(site.run_against, server, niceness=NICENESS, **load, steady=steady + SETTLE)
        asked = run(server, site.cores, plan_for(server, **asking, steady=steady, ping=PING, tick=TICK))
        return _Asked(loading.result(), asked)


def sessions_for(share: float, measured: float, sessions: int) -> int:
    """How many calls take ``share`` of a processor when ``sessions`` take ``measured``; in tens."""
    return min(max(10, int(sessions * share / measured) // 10 * 10), MAX_SESSIONS)


def _longest(which: str, runs: list[Run]) -> str:
    return f"longest {max(run.result[which]['max'] for run in runs):.0f} ms"
