"""Who is due when, on one absolute clock: what is late does not make later what comes after it (pure)."""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple


class Stretch(NamedTuple):
    """Those who are due: of all members in their order, from one to before another."""

    start: int
    end: int
    #: When the first of them was due.
    since: float


class Ring:
    """Each of ``phases`` is due once in each period, for ever.

    :param start: when the first period begins.
    :param period: seconds.
    :param phases: of each member, from 0 to below the period. At least one.
    """

    def __init__(self, start: float, period: float, phases: Sequence[float]) -> None:
        #: In the order in which they are due.
        self.members = array("i", sorted(range(len(phases)), key=phases.__getitem__))
        self._phases = sorted(phases)
        self._period = period
        self._start = start
        self._slot = 0
        self._round = 0
        #: When somebody is due who was not told.
        self.next = self._due()

    def due(self, now: float) -> list[Stretch]:
        """Who is due by ``now`` and was not told before. No error adds up, however many rounds."""
        stretches: list[Stretch] = []
        while self.next <= now:
            start, since = self._slot, self.next
            until = now - self._start - self._round * self._period
            end = max(start + 1, bisect_right(self._phases, until, start))  # one at least, however it was rounded
            stretches.append(Stretch(start, end, since))
            self._slot = end % len(self._phases)
            self._round += end == len(self._phases)
            self.next = self._due()
        return stretches

    def _due(self) -> float:
        return self._start + self._round * self._period + self._phases[self._slot]


class Row:
    """Members 0, 1, 2 ... are due once, one each ``interval`` seconds."""

    def __init__(self, start: float, interval: float, count: int) -> None:
        self._start = start
        self._interval = interval
        self._count = count
        self._next = 0

    def due(self, now: float) -> range:
        """Who is due by ``now`` and was not told before."""
        start = self._next
        while self._next < self._count and self._start + self._next * self._interval <= now:
            self._next += 1
        return range(start, self._next)
