"""Processor time per frame: relative to stock Autobahn, with further sinks, and with more and more calls."""

from typing import Any

from bench.result import Report, Result, median
from bench.scenarios.runner import Runner
from bench.servers import sinks

#: Relative to the processor time of stock Autobahn, which discards the same audio.
TARGET_RATIO = 0.50
#: Percent of a processor that the generator may use at 500 calls x 200 ms.
TARGET_GENERATOR = 10
#: Sessions by milliseconds of a frame. 500 calls with 20 ms are 25,000 frames per second: more than stock Autobahn
#: and the generator can do on two processors.
SESSIONS = {200: 500, 20: 100}
#: µs per frame, for each further sink.
TARGET_SINK = 1.5
SINKS = 3
#: Sessions of the growth scenario. The target allows for noise.
GROWTH = {True: (100, 500, 1000, 2000), False: (100, 500)}
TARGET_GROWTH = 1.1
#: Calls that arrive per second.
RATE = 150


def frames_200(runner: Runner) -> Report:
    """Compares with stock Autobahn, with frames of 200 ms, as Genesys Cloud sends them."""
    report = _against_stock(runner, 200)
    share, spread = median([100 * row["generator_share"] for row in report.rows])
    description = f"the generator itself, {_load(SESSIONS[200], 200)}"
    generator = Result("generator", description, share, "% of a processor", TARGET_GENERATOR, spread)
    return report._replace(findings=[*report.findings, generator])


def frames_20(runner: Runner) -> Report:
    """Compares with stock Autobahn, with frames of 20 ms."""
    return _against_stock(runner, 20)


def further_sinks(runner: Runner) -> Report:
    """Measures further plugins that receive the audio."""
    names = ("daemon", f"daemon with {SINKS} sinks")
    plan = _plan(runner, SESSIONS[20], 20)
    pairs = runner.pairs(names, {names[1]: sinks(SINKS)}, **plan)
    value, spread = median([(with_.microseconds - without.microseconds) / SINKS for without, with_ in pairs])
    description = f"each further sink, {_load(SESSIONS[20], 20)}"
    rows = [run.row() | {"sinks": sinks} for pair in pairs for run, sinks in zip(pair, (0, SINKS), strict=True)]
    return Report("sinks", [Result("sink", description, value, "µs/frame", TARGET_SINK, spread)], rows)


def growth(runner: Runner) -> Report:
    """Measures whether a frame costs more if there are more calls."""
    counts = GROWTH[runner.effort.is_full]
    runs = [
        [runner.run("daemon", **_plan(runner, sessions, 200)) for sessions in counts]
        for _ in range(runner.effort.pairs)
    ]
    ratios = [line[-1].microseconds / line[0].microseconds for line in runs]
    value, spread = median(ratios)
    description = f"processor time per frame with {counts[-1]} calls, relative to {counts[0]} calls"
    finding = Result("growth", description, value, "", TARGET_GROWTH, spread)
    return Report("growth", [finding], [run.row() for line in runs for run in line])


def _against_stock(runner: Runner, frame: int) -> Report:
    pairs = runner.pairs(("daemon", "stock"), {}, **_plan(runner, SESSIONS[frame], frame))
    ratio, spread = median([ours.microseconds / theirs.microseconds for ours, theirs in pairs])
    load = _load(SESSIONS[frame], frame)
    description = f"processor time per frame, relative to stock Autobahn, {load}"
    findings = [Result(f"ratio-{frame}", description, ratio, "", TARGET_RATIO, spread)]
    for place, side in enumerate(("daemon", "stock")):
        value, spread = median([pair[place].microseconds for pair in pairs])
        findings.append(Result(f"{side}-{frame}", f"{side}, {load}", value, "µs/frame", None, spread))
    return Report(f"frames-{frame}", findings, [run.row() for pair in pairs for run in pair])


def _plan(runner: Runner, sessions: int, frame: int) -> dict[str, Any]:
    return {"sessions": sessions, "frame": frame, "arrival": sessions / RATE, "steady": runner.effort.steady}


def _load(sessions: int, frame: int) -> str:
    return f"{sessions} calls x {frame} ms"
