"""The server under test has a core to itself; all else is on the others, where there are any."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Cores(NamedTuple):
    """Which processors are whose."""

    server: frozenset[int]
    others: frozenset[int]

    def __str__(self) -> str:
        if self.server == self.others:
            return "one processor for everything"
        return f"the server alone on processor {_listed(self.server)}, all else on {_listed(self.others)}"


def share(available: set[int]) -> Cores:
    """The first for the server, when there are two."""
    first, *others = sorted(available)
    return Cores(frozenset({first}), frozenset(others or {first}))


@contextmanager
def kept_to(cores: frozenset[int]) -> Iterator[None]:
    """The calling thread, and whatever it starts meanwhile, runs on ``cores`` alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _listed(cores: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(cores)))
