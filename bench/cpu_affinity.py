"""Assigns processors: one to the server under test, and the others, if there are any, to everything else."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Cores(NamedTuple):
    """The processors of the server, and of everything else."""

    server: frozenset[int]
    others: frozenset[int]

    def __str__(self) -> str:
        if self.server == self.others:
            return "one processor for everything"
        return f"only the server on processor {_listed(self.server)}, everything else on {_listed(self.others)}"


def share(available: set[int]) -> Cores:
    """Assigns the first processor to the server, if there are at least two."""
    first, *others = sorted(available)
    return Cores(frozenset({first}), frozenset(others or {first}))


@contextmanager
def pinned_to(cores: frozenset[int]) -> Iterator[None]:
    """Pins the calling thread, and the processes that it starts in the block, to ``cores``."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _listed(cores: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(cores)))
