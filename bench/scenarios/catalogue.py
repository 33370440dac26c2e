"""All scenarios there are, and how thorough each extent is."""

from collections.abc import Callable
from typing import Final, NamedTuple

from bench.result import Report
from bench.scenarios import frames, integrity, latency, max_latency, memory
from bench.scenarios.runner import Effort, Runner

SHORT = Effort(is_full=False, pairs=1, steady=5.0)
FULL = Effort(is_full=True, pairs=5, steady=10.0)


class Scenario(NamedTuple):
    """``is_short``: the short form has it, too."""

    run: Callable[[Runner], Report]
    about: str
    is_short: bool = True


SCENARIOS: Final = {
    "frames-200": Scenario(frames.frames_200, "processor per frame of 200 ms, against stock Autobahn"),
    "frames-20": Scenario(frames.frames_20, "the same with frames of 20 ms"),
    "sinks": Scenario(frames.further_sinks, "what each further plugin that takes the audio costs"),
    "memory": Scenario(memory.memory, "memory of each live recorded call"),
    "hour": Scenario(memory.hour, "whether calls of an hour take more and more of it", is_short=False),
    "turnover": Scenario(memory.turnover, "whether calls that came and went leave something", is_short=False),
    "arrivals": Scenario(latency.arrivals, "open to opened while calls arrive"),
    "pongs": Scenario(latency.pongs, "ping to pong at half a processor", is_short=False),
    "stall": Scenario(max_latency.stall, "the longest wait, with everything at once"),
    "lossless": Scenario(integrity.lossless, "whether anything of very many calls is lost"),
    "growth": Scenario(frames.growth, "processor per frame with more and more calls", is_short=False),
}
