"""All scenarios, and the effort of the short and the full form."""

from collections.abc import Callable
from typing import Final, NamedTuple

from bench.result import Report
from bench.scenarios import bots, frames, integrity, latency, max_latency, memory
from bench.scenarios.runner import Effort, Runner

SHORT = Effort(is_full=False, pairs=1, steady=5.0)
FULL = Effort(is_full=True, pairs=5, steady=10.0)


class Scenario(NamedTuple):
    """A scenario. ``is_short``: the short form includes it."""

    run: Callable[[Runner], Report]
    about: str
    is_short: bool = True


SCENARIOS: Final = {
    "frames-200": Scenario(frames.frames_200, "processor time per frame of 200 ms, relative to stock Autobahn"),
    "frames-20": Scenario(frames.frames_20, "the same with frames of 20 ms"),
    "sinks": Scenario(frames.further_sinks, "processor time of each further plugin that receives the audio"),
    "memory": Scenario(memory.memory, "memory of each live recorded call"),
    "hour": Scenario(memory.hour, "whether calls of an hour use more and more memory", is_short=False),
    "turnover": Scenario(memory.turnover, "whether ended calls leave memory behind", is_short=False),
    "arrivals": Scenario(latency.arrivals, "open to opened while calls arrive"),
    "pongs": Scenario(latency.pongs, "ping to pong at half a processor", is_short=False),
    "bots": Scenario(bots.bots, "what the daemon adds between a bot's speech and the caller"),
    "stall": Scenario(max_latency.stall, "the longest wait, with all loads at once"),
    "lossless": Scenario(integrity.lossless, "whether audio of very many calls is lost"),
    "growth": Scenario(frames.growth, "processor time per frame with more and more calls", is_short=False),
}
