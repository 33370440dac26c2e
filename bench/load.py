"""One run: makes the calls of a plan to one server, and measures their cost."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, NamedTuple

from bench.cpu_affinity import Cores, pinned_to
from bench.generator.plan import Plan
from bench.process_stats import Memory, memory, per_frame, processor, stolen
from bench.servers import KEYS, ROOT, VOICE, Server


class CallsFailed(Exception):
    """Not all calls were opened, answered and closed correctly, so the other measurements are invalid."""


class Run(NamedTuple):
    """The measurements of one run. ``result`` is the result of the generator."""

    side: str
    plan: Plan
    processor: float  # processor seconds of the server, in the steady part
    stolen: float  # seconds of the steady part in which the server's processor ran another machine
    idle: Memory  # before the first call
    begun: Memory  # at the begin of the steady part
    ended: Memory  # at its end
    samples: list[Memory]  # taken in between, if requested
    result: dict[str, Any]

    @property
    def microseconds(self) -> float:
        """Processor time of the server per frame, including all its other work."""
        return per_frame(self.processor, self.result["steady"]["frames"])

    @property
    def share(self) -> float:
        """The share of one processor that the server used, from 0 to 1."""
        return float(self.processor / self.result["steady"]["seconds"])

    @property
    def stolen_share(self) -> float:
        """The share of the steady part that the host took from the server's processor: it cannot respond then."""
        return float(self.stolen / self.result["steady"]["seconds"])

    @property
    def generator_share(self) -> float:
        """The share of one processor that the generator used."""
        steady = self.result["steady"]
        return float(steady["processor"] / steady["seconds"])

    def row(self) -> dict[str, Any]:
        """The run as a row of the JSON results."""
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


def plan_for(server: Server, **options: Any) -> Plan:
    """A plan of calls to ``server``."""
    return Plan(port=server.port, keys=KEYS, voice=VOICE, **options)


def run(server: Server, cores: Cores, plan: Plan, samples: int = 0, niceness: int = 0) -> Run:
    """Makes the calls of ``plan``, and measures the server.

    :param samples: how often to sample the server's memory within the steady part.
    :param niceness: of the generator, if it has to yield to another one.
    :raises CallsFailed: a call failed.
    """
    idle = memory(server.pid)
    command = [sys.executable, "-m", "bench.generator", *plan.arguments()]
    with pinned_to(cores.others):
        generator = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
    with generator:
        if niceness:
            os.setpriority(os.PRIO_PROCESS, generator.pid, niceness)
        lines = map(json.loads, generator.stdout or ())
        _await_mark(server, lines, "steady")
        begin, begun, stolen_before = processor(server.pid), memory(server.pid), stolen(cores.server)
        with _sampling(server.pid, plan.steady / samples if samples else 0.0) as taken:
            _await_mark(server, lines, "leaving")
        end, ended, taken_away = processor(server.pid), memory(server.pid), stolen(cores.server) - stolen_before
        result: dict[str, Any] = next(lines, {})
    _demand_all_good(server, result)
    return Run(server.side, plan, end - begin, taken_away, idle, begun, ended, taken, result)


def _demand_all_good(server: Server, result: dict[str, Any]) -> None:
    if not result:
        raise CallsFailed(f"{server.side}: the generator ended without a result")
    if result["failures"]:
        failures = ", ".join(f"{count} x {reason}" for reason, count in result["failures"].items())
        late = f"frames late by {result['late'].get('p99', 0):.0f} ms (p99)"
        raise CallsFailed(f"{server.side}, {result['sessions']} calls: {failures}; {late}")


def _await_mark(server: Server, lines: Iterator[dict[str, Any]], name: str) -> None:
    line = next(lines, {})
    if line.get("mark") != name:
        raise CallsFailed(f"{server.side}: the generator ended before the mark {name!r}")


@contextmanager
def _sampling(pid: int, interval: float) -> Iterator[list[Memory]]:
    """Samples the memory of a process every ``interval`` seconds; 0 for never."""
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
