"""Runs the servers and the calls of a scenario."""

from collections.abc import Callable
from typing import Any, NamedTuple

from bench.cpu_affinity import Cores
from bench.load import Run, plan_for, run
from bench.servers import Server, Tables, serving


class Effort(NamedTuple):
    """How thorough a run is. The short form shows whether something is wrong; the full form gives the figures."""

    is_full: bool
    #: Runs of each side.
    pairs: int
    #: Measured seconds of each run.
    steady: float


class Runner(NamedTuple):
    """Runs plans with the given processors and effort. Calls ``say`` with a progress line for each run."""

    cores: Cores
    effort: Effort
    say: Callable[[str], None]

    def run(self, side: str, tables: Tables | None = None, samples: int = 0, **plan: Any) -> Run:
        """Runs a plan against a new server."""
        with serving(side, self.cores, tables) as server:
            return self.run_against(server, samples, **plan)

    def run_against(self, server: Server, samples: int = 0, niceness: int = 0, **plan: Any) -> Run:
        """Runs a plan against ``server``."""
        done = run(server, self.cores, plan_for(server, **plan), samples, niceness)
        self.say(
            f"  {done.side:7}{done.plan.sessions:5} x {done.plan.frame} ms: {done.microseconds:6.1f} µs per frame,"
            f" {done.share:4.0%} of a processor, {kib_per_call(done):.0f} KiB per call; generator"
            f" {done.generator_share:.0%}, frames late by {done.result['late']['p99']:.0f} ms (p99);"
            f" {done.stolen_share:.1%} stolen"
        )
        return done

    def pairs(self, sides: tuple[str, str], tables: dict[str, Tables], **plan: Any) -> list[tuple[Run, Run]]:
        """Runs both sides in pairs. They take turns in running first, because the speed of the machine may change.

        :param tables: by side.
        """
        done = []
        for pair in range(self.effort.pairs):
            order = sides if pair % 2 == 0 else sides[::-1]
            runs = {name: self.run(side_of(name), tables.get(name), **plan) for name in order}
            done.append((runs[sides[0]], runs[sides[1]]))
        return done


def side_of(name: str) -> str:
    """The side of a run's name. Both runs of a pair may be the daemon, with different tables."""
    return name.partition(" ")[0]


def kib_per_call(done: Run) -> float:
    """Memory of each live call, above the idle server, at the end of the steady part, in KiB."""
    return (done.ended.private_dirty - done.idle.private_dirty) / done.plan.sessions / 1024
