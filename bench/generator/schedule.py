"""Who is due when, on one absolute clock: what is late does not make later what comes after it (pure)."""

from collections.abc import Iterator, Sequence


class Ring:
    """Each of ``phases`` is due once in each period, for ever.

    :param start: when the first period begins.
    :param period: seconds.
    :param phases: of each member, from 0 to below the period.
    """

    def __init__(self, start: float, period: float, phases: Sequence[float]) -> None:
        self._period = period
        members = sorted(range(len(phases)), key=phases.__getitem__)
        self._slots = [(phases[member], member) for member in members]
        self._slot = 0
        self._round = 0
        self._start = start

    def due(self, now: float) -> Iterator[tuple[int, float]]:
        """Who is due by ``now`` and was not told before, and since when. No error adds up, however many rounds."""
        slots, begun = self._slots, self._begun
        while (due := begun + slots[self._slot][0]) <= now:
            member = slots[self._slot][1]
            self._slot += 1
            if self._slot == len(slots):
                self._slot = 0
                self._round += 1
                begun = self._begun
            yield member, due

    @property
    def _begun(self) -> float:
        return self._start + self._round * self._period


class Row:
    """Members 0, 1, 2 ... are due once, one each ``interval`` seconds."""

    def __init__(self, start: float, interval: float, count: int) -> None:
        self._start = start
        self._interval = interval
        self._count = count
        self._next = 0

    def due(self, now: float) -> Iterator[tuple[int, float]]:
        """See :meth:`Ring.due`."""
        while self._next < self._count and (due := self._start + self._next * self._interval) <= now:
            self._next += 1
            yield self._next - 1, due
