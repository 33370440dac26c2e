"""What a frame costs: against stock Autobahn, with further sinks, and with more and more calls."""

from typing import Any

from bench.result import Report, Result, median
from bench.scenarios.runner import Runner
from bench.servers import sinks

#: Of the processor that stock Autobahn takes to throw the same audio away.
WANTED_RATIO = 0.50
#: Percent of a processor that the generator may take at 500 calls x 200 ms.
WANTED_GENERATOR = 10
#: Sessions by milliseconds of a frame. 500 calls with 20 ms are 25,000 frames a second: more than stock Autobahn and
#: the generator can do on two processors.
SESSIONS = {200: 500, 20: 100}
#: µs a frame, of each further sink.
WANTED_SINK = 1.5
SINKS = 3
#: Sessions of the growth; it must not be more than so much, which is what noise is.
GROWTH = {True: (100, 500, 1000, 2000), False: (100, 500)}
WANTED_GROWTH = 1.1
#: Calls that arrive each second.
RATE = 150


def frames_200(site: Runner) -> Report:
    """Against stock Autobahn, with frames of 200 ms, as Genesys Cloud sends them."""
    report = _against_stock(site, 200)
    share, spread = median([100 * row["generator_share"] for row in report.rows])
    what = f"the generator itself, {_load(SESSIONS[200], 200)}"
    generator = Result("generator", what, share, "% of a processor", WANTED_GENERATOR, spread)
    return report._replace(findings=[*report.findings, generator])


def frames_20(site: Runner) -> Report:
    """The same with frames of 20 ms."""
    return _against_stock(site, 20)


def further_sinks(site: Runner) -> Report:
    """Plugins that take the audio, too."""
    names = ("daemon", f"daemon with {SINKS} sinks")
    plan = _plan(site, SESSIONS[20], 20)
    pairs = site.pairs(names, {names[1]: sinks(SINKS)}, **plan)
    value, spread = median([(with_.microseconds - without.microseconds) / SINKS for without, with_ in pairs])
    what = f"each further sink, {_load(SESSIONS[20], 20)}"
    rows = [run.row() | {"sinks": sinks} for pair in pairs for run, sinks in zip(pair, (0, SINKS), strict=True)]
    return Report("sinks", [Result("sink", what, value, "µs/frame", WANTED_SINK, spread)], rows)


def growth(site: Runner) -> Report:
    """Whether a frame costs more when there are more calls."""
    counts = GROWTH[site.extent.is_full]
    runs = [
        [site.run("daemon", **_plan(site, sessions, 200)) for sessions in counts] for _ in range(site.extent.pairs)
    ]
    ratios = [line[-1].microseconds / line[0].microseconds for line in runs]
    value, spread = median(ratios)
    what = f"processor per frame with {counts[-1]} calls, in parts of that with {counts[0]}"
    finding = Result("growth", what, value, "", WANTED_GROWTH, spread)
    return Report("growth", [finding], [run.row() for line in runs for run in line])


def _against_stock(site: Runner, frame: int) -> Report:
    pairs = site.pairs(("daemon", "stock"), {}, **_plan(site, SESSIONS[frame], frame))
    ratio, spread = median([ours.microseconds / theirs.microseconds for ours, theirs in pairs])
    load = _load(SESSIONS[frame], frame)
    what = f"processor per frame, in parts of stock Autobahn's, {load}"
    findings = [Result(f"ratio-{frame}", what, ratio, "", WANTED_RATIO, spread)]
    for place, side in enumerate(("daemon", "stock")):
        value, spread = median([pair[place].microseconds for pair in pairs])
        findings.append(Result(f"{side}-{frame}", f"{side}, {load}", value, "µs/frame", None, spread))
    return Report(f"frames-{frame}", findings, [run.row() for pair in pairs for run in pair])


def _plan(site: Runner, sessions: int, frame: int) -> dict[str, Any]:
    return {"sessions": sessions, "frame": frame, "arrival": sessions / RATE, "steady": site.extent.steady}


def _load(sessions: int, frame: int) -> str:
    return f"{sessions} calls x {frame} ms"
