"""Who is due when, on one absolute clock: what is late does not make later what comes after it (pure)."""

from collections.abc import Sequence


class PeriodicSchedule:
    """Each of ``phases`` is due once in each period, for ever.

    :param start: when the first period begins.
    :param period: seconds.
    :param phases: of each member, from 0 to below the period. At least one.
    """

    def __init__(self, start: float, period: float, phases: Sequence[float]) -> None:
        members = sorted(range(len(phases)), key=phases.__getitem__)
        self._slots = [(phases[member], member) for member in members]
        self._start = start
        self._period = period
        self._slot = 0
        self._round = 0
        #: When somebody is due who was not told.
        self.next = self._due()

    def due(self, now: float) -> list[int]:
        """The members who are due by ``now`` and were not told before. No error adds up, however many rounds."""
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
