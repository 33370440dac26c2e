"""One run: the calls of a plan against one server, and what they cost it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, NamedTuple

from bench.cpu_affinity import Cores, kept_to
from bench.generator.plan import Plan
from bench.process_stats import Memory, memory, per_frame, processor, stolen
from bench.servers import KEYS, ROOT, VOICE, Server


class CallsFailed(Exception):
    """Not all calls were opened, answered and closed as they should be: nothing else that was measured counts."""


class Run(NamedTuple):
    """What was measured. ``result`` is the generator's own."""

    side: str
    plan: Plan
    processor: float  # seconds of the server, in the steady part
    stolen: float  # seconds of the steady part in which the server's processor worked for another machine
    idle: Memory  # before the first call
    begun: Memory  # when the steady part began
    ended: Memory  # when it ended
    samples: list[Memory]  # taken in between, where that was asked for
    result: dict[str, Any]

    @property
    def microseconds(self) -> float:
        """Of processor that the server used for each frame, all that it does besides included."""
        return per_frame(self.processor, self.result["steady"]["frames"])

    @property
    def share(self) -> float:
        """Of one processor, that the server used; 1 is all of it."""
        return float(self.processor / self.result["steady"]["seconds"])

    @property
    def stolen_share(self) -> float:
        """Of the steady part, that the host took away from the server's processor: nothing answers then."""
        return float(self.stolen / self.result["steady"]["seconds"])

    @property
    def generator_share(self) -> float:
        """Of one processor, that the generator used."""
        steady = self.result["steady"]
        return float(steady["processor"] / steady["seconds"])

    def row(self) -> dict[str, Any]:
        """For the results in JSON."""
        return {
            "side": self.side,
            "sessions": self.plan.sessions,
            "frame": self.plan.frame,
            "microseconds": self.microseconds,
            "share": self.share,
            "stolen_share": self.stolen_share,
            "generator_share": self.generator_share,
            "memory": {"idle": self.idle, "begun": self.begun, "ended": self.ended},
            **{name: value for name, value in self.result.items() if name != "ledger"},
        }


def plan_for(server: Server, **what: Any) -> Plan:
    """A plan of calls to ``server``."""
    return Plan(port=server.port, keys=KEYS, voice=VOICE, **what)


def run(server: Server, cores: Cores, plan: Plan, samples: int = 0, niceness: int = 0) -> Run:
    """Makes the calls.

    :param samples: how often to look at the server's memory in the steady part, besides at its ends.
    :param niceness: of the generator, where it has to give way to another one.
    :raises CallsFailed: some did.
    """
    idle = memory(server.pid)
    command = [sys.executable, "-m", "bench.generator", *plan.arguments()]
    with kept_to(cores.others):
        generator = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
    with generator:
        if niceness:
            os.setpriority(os.PRIO_PROCESS, generator.pid, niceness)
        lines = map(json.loads, generator.stdout or ())
        _await_mark(server, lines, "steady")
        begin, begun, robbed = processor(server.pid), memory(server.pid), stolen(cores.server)
        with _sampling(server.pid, plan.steady / samples if samples else 0.0) as taken:
            _await_mark(server, lines, "leaving")
        end, ended, taken_away = processor(server.pid), memory(server.pid), stolen(cores.server) - robbed
        result: dict[str, Any] = next(lines, {})
    _demand_all_good(server, result)
    return Run(server.side, plan, end - begin, taken_away, idle, begun, ended, taken, result)


def _demand_all_good(server: Server, result: dict[str, Any]) -> None:
    if not result:
        raise CallsFailed(f"{server.side}: the generator ended without a result")
    if result["failures"]:
        failures = ", ".join(f"{count} x {why}" for why, count in result["failures"].items())
        late = f"frames late by {result['late'].get('p99', 0):.0f} ms (p99)"
        raise CallsFailed(f"{server.side}, {result['sessions']} calls: {failures}; {late}")


def _await_mark(server: Server, lines: Iterator[dict[str, Any]], name: str) -> None:
    line = next(lines, {})
    if line.get("mark") != name:
        raise CallsFailed(f"{server.side}: the generator ended before the mark {name!r}")


@contextmanager
def _sampling(pid: int, interval: float) -> Iterator[list[Memory]]:
    """Looks at the memory of a process each ``interval`` seconds; 0: never."""
    taken: list[Memory] = []
    enough = Event()

    def sample() -> None:
        while not enough.wait(interval):
            taken.append(memory(pid))

    thread = Thread(target=sample)
    if interval:
        thread.start()
    try:
        yield taken
    finally:
        enough.set()
        if interval:
            thread.join()
