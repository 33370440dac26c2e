"""What every scenario needs: where it runs, how long it may take, and somebody to tell."""

from collections.abc import Callable
from typing import Any, NamedTuple

from bench.cpu_affinity import Cores
from bench.load import Run, plan_for, run
from bench.servers import Server, Tables, serving


class Effort(NamedTuple):
    """How thorough: the short form shows whether something is wrong, the full one gives the figures."""

    is_full: bool
    #: Of each side.
    pairs: int
    #: Seconds that are measured in each run.
    steady: float


class Runner(NamedTuple):
    """Where scenarios run. ``say`` gets a line for whoever waits."""

    cores: Cores
    extent: Effort
    say: Callable[[str], None]

    def run(self, side: str, tables: Tables | None = None, samples: int = 0, **plan: Any) -> Run:
        """One run against a server of its own."""
        with serving(side, self.cores, tables) as server:
            return self.run_against(server, samples, **plan)

    def run_against(self, server: Server, samples: int = 0, niceness: int = 0, **plan: Any) -> Run:
        """One run against ``server``."""
        done = run(server, self.cores, plan_for(server, **plan), samples, niceness)
        self.say(
            f"  {done.side:7}{done.plan.sessions:5} x {done.plan.frame} ms: {done.microseconds:6.1f} µs a frame,"
            f" {done.share:4.0%} of a processor, {kib_per_call(done):.0f} KiB a call; generator"
            f" {done.generator_share:.0%}, frames late by {done.result['late']['p99']:.0f} ms (p99);"
            f" {done.stolen_share:.1%} stolen"
        )
        return done

    def pairs(self, sides: tuple[str, str], tables: dict[str, Tables], **plan: Any) -> list[tuple[Run, Run]]:
        """Runs of both sides in pairs. Who begins takes turns: the machine may get slower, or faster.

        :param tables: by side.
        """
        done = []
        for pair in range(self.extent.pairs):
            order = sides if pair % 2 == 0 else sides[::-1]
            runs = {name: self.run(side_of(name), tables.get(name), **plan) for name in order}
            done.append((runs[sides[0]], runs[sides[1]]))
        return done


def side_of(name: str) -> str:
    """The daemon may stand on both sides, with different tables."""
    return name.partition(" ")[0]


def kib_per_call(done: Run) -> float:
    """Memory of each live call above what the idle server has, at the end of the steady part."""
    return (done.ended.private_dirty - done.idle.private_dirty) / done.plan.sessions / 1024
