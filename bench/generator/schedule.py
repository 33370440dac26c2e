"""Schedules on one absolute clock: a late member does not delay the members after it (pure)."""

from collections.abc import Sequence


class PeriodicSchedule:
    """Makes each of ``phases`` due once in each period, without end.

    :param start: when the first period begins.
    :param period: seconds.
    :param phases: one per member, from 0 to below the period. At least one.
    """

    def __init__(self, start: float, period: float, phases: Sequence[float]) -> None:
        members = sorted(range(len(phases)), key=phases.__getitem__)
        self._slots = [(phases[member], member) for member in members]
        self._start = start
        self._period = period
        self._slot = 0
        self._round = 0
        #: When the next member is due.
        self.next = self._due()

    def due(self, now: float) -> list[int]:
        """Takes the members that are due by ``now``. Rounding errors do not accumulate over the rounds."""
        members = []
        while self.next <= now:
            members.append(self._slots[self._slot][1])
            self._slot += 1
            if self._slot == len(self._slots):
                self._slot = 0
                self._round += 1
            self.next = self._due()
        return members

    def _due(self) -> float:
        return self._start + self._round * self._period + self._slots[self._slot][0]


class SequenceSchedule:
    """Makes members 0, 1, 2 ... due once, one every ``interval`` seconds."""

    def __init__(self, start: float, interval: float, count: int) -> None:
        self._start = start
        self._interval = interval
        self._count = count
        self._next = 0

    def due(self, now: float) -> range:
        """Takes the members that are due by ``now``."""
        start = self._next
        while self._next < self._count and self._start + self._next * self._interval <= now:
            self._next += 1
        return range(start, self._next)
