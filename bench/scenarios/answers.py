"""How long clients wait for answers."""

from typing import Any

from bench.finding import Finding, Report, median
from bench.load import Run
from bench.scenarios.site import Site
from bench.servers import MAX_SESSIONS

#: Calls that arrive in so many seconds, each talking as soon as it is open.
ARRIVING, SECONDS = 500, 5.0
#: Milliseconds, 99th percentile. Genesys Cloud gives up after 5 s in both cases.
WANTED_OPENED, WANTED_PONG = 100.0, 10.0
#: Part of a processor at which pongs are measured, and the calls with which it is found out how many that takes.
SHARE, TRIAL = 0.50, 500


def arrivals(site: Site) -> Report:
    """``open`` to ``opened`` while calls arrive."""
    plan: dict[str, Any] = {"sessions": ARRIVING, "arrival": SECONDS, "steady": site.extent.steady}
    runs = [site.run("daemon", **plan) for _ in range(site.extent.pairs)]
    value, spread = median([run.result["opened"]["p99"] for run in runs])
    what = f"open to opened, p99, {ARRIVING} calls arriving in {SECONDS:.0f} s"
    finding = Finding("opened", what, value, "ms", WANTED_OPENED, spread, _longest("opened", runs))
    return Report("arrivals", [finding], [run.row() for run in runs])


def pongs(site: Site) -> Report:
    """``ping`` to ``pong`` while the daemon has half a processor to do."""
    trial = site.run("daemon", sessions=TRIAL, arrival=TRIAL / 100, steady=site.extent.steady)
    sessions = sessions_for(SHARE, trial.share, TRIAL)
    plan: dict[str, Any] = {"sessions": sessions, "arrival": sessions / 100, "steady": site.extent.steady}
    runs = [site.run("daemon", **plan) for _ in range(site.extent.pairs)]
    value, spread = median([run.result["round_trip"]["p99"] for run in runs])
    share, _ = median([run.share for run in runs])
    what = f"ping to pong, p99, {sessions} calls, {share:.0%} of a processor"
    finding = Finding("pong", what, value, "ms", WANTED_PONG, spread, _longest("round_trip", runs))
    return Report("pongs", [finding], [run.row() for run in runs])


def sessions_for(share: float, measured: float, sessions: int) -> int:
    """How many calls take ``share`` of a processor when ``sessions`` take ``measured``; in tens."""
    return min(max(10, int(sessions * share / measured) // 10 * 10), MAX_SESSIONS)


def _longest(which: str, runs: list[Run]) -> str:
    return f"longest {max(run.result[which]['max'] for run in runs):.0f} ms"
