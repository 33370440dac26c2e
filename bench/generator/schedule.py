"""Who is due when, on one absolute clock: what is late does not make later what comes after it (pure)."""

from collections.abc import Sequence


class Ring:
    """Each of ``phases`` is due once in each period, for ever.

    :param start: when the first period begins.
    :param period: seconds.
    :param phases: of each member, from 0 to below the period.
    """

    def __init__(self, start: float, period: float, phases: Sequence[float]) -> None:
        self._period = period
        self._members = sorted(range(len(phases)), key=phases.__getitem__)
        self._offsets = [phases[member] for member in self._members]
        self._last = len(phases) - 1
        self._round = 0
        self._slot = 0
        self._start = start
        #: Who is next.
        self.member = self._members[0]
        #: When.
        self.due = start + self._offsets[0]

    def advance(self) -> None:
        """To the next member. No error adds up, however many rounds there are."""
        if self._slot == self._last:
            self._slot = 0
            self._round += 1
        else:
            self._slot += 1
        self.member = self._members[self._slot]
        self.due = self._start + self._round * self._period + self._offsets[self._slot]


class Row:
    """Members 0, 1, 2 ... are due once, one each ``interval`` seconds."""

    def __init__(self, start: float, interval: float, count: int) -> None:
        self._start = start
        self._interval = interval
        self._count = count
        #: Who is next.
        self.member = 0

    @property
    def due(self) -> float:
        """When; infinity after the last."""
        return self._start + self.member * self._interval if self.member < self._count else float("inf")

    def advance(self) -> None:
        """To the next member."""
        self.member += 1
