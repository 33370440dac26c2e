"""What one outlet knows of the recordings that it is to deliver, in bounded memory (pure)."""

import heapq
from collections import OrderedDict, deque
from typing import NamedTuple


class RecordingKey(NamedTuple):
    """A recording. In the order in which they are looked for: the oldest day first."""

    day: str
    id: str


#: A recording, and how often it has failed by itself.
Taken = tuple[RecordingKey, int]


class PendingQueue:
    """Recordings that wait, are in flight, or rest after a failure of their own; each is in it once.

    Those that have just become due have places of their own among those that wait: however many lie on disk, and
    whatever is the matter with them, they do not keep new ones out. One for which there is no room is forgotten,
    until it is found on disk again.

    :param limit: how many may wait; those in flight count, too, while others come.
    :param resting_limit: how many may rest.
    :param new_limit: how many new ones may wait besides.
    """

    def __init__(self, limit: int, resting_limit: int, new_limit: int) -> None:
        self._limit = limit
        self._resting_limit = resting_limit
        self._new_limit = new_limit
        # Each with the failures of its own.
        self._new: OrderedDict[RecordingKey, int] = OrderedDict()
        self._waiting: OrderedDict[RecordingKey, int] = OrderedDict()
        self._in_flight: dict[RecordingKey, int] = {}
        self._resting: dict[RecordingKey, int] = {}
        self._dues: list[tuple[float, RecordingKey]] = []  # a heap of those that rest
        self._turns = deque([self._take_rested, self._take_new, self._take_waiting])

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting) + len(self._new)

    @property
    def in_flight(self) -> int:
        """How many are being delivered."""
        return len(self._in_flight)

    @property
    def deferred(self) -> int:
        """How many rest."""
        return len(self._resting)

    @property
    def room(self) -> int:
        """How many more may wait, new ones aside."""
        return max(0, self._limit - len(self._waiting) - len(self._in_flight))

    @property
    def is_low(self) -> bool:
        """Whether it is time to look for more on disk."""
        return self.room > 0 and len(self._waiting) <= self._limit // 4

    def known(self) -> frozenset[RecordingKey]:
        """All in it."""
        return frozenset((*self._new, *self._waiting, *self._in_flight, *self._resting))

    def add(self, key: RecordingKey) -> bool:
        """To the end of those that wait, unless it is known. False when there is no room."""
        if self._knows(key):
            return True
        if not self.room:
            return False
        self._waiting[key] = 0
        return True

    def add_new(self, key: RecordingKey) -> bool:
        """As :meth:`add`, to the places of those that have just become due."""
        if self._knows(key):
            return True
        if len(self._new) >= self._new_limit or self._is_full:
            return False
        self._new[key] = 0
        return True

    def take(self, now: float, newest: bool = False) -> RecordingKey | None:
        """The next one, which is in flight from now on; None when there is none.

        Those that rested enough, new ones and those that wait take turns, so that no kind starves another.

        :param newest: rather the one that came last, and one that has not failed.
        """
        order = (self._take_new, self._take_waiting, self._take_rested) if newest else tuple(self._turns)
        for take in order:
            taken = take(now, newest)
            if taken is not None:
                self._turns.remove(take)
                self._turns.append(take)
                key, self._in_flight[key] = taken
                return key
        return None

    def next_due(self) -> float | None:
        """When something can be taken that cannot be now, by the passing of time alone."""
        return self._dues[0][0] if self._dues else None

    def failures(self, key: RecordingKey) -> int:
        """How often it has failed, of those in flight."""
        return self._in_flight[key]

    def forget(self, key: RecordingKey) -> None:
        """It is delivered, or there is nothing to be delivered."""
        self._in_flight.pop(key, None)

    def requeue(self, key: RecordingKey) -> None:
        """From flight to the first place of those that wait: it was not its fault. No longer a new one."""
        failures = self._in_flight.pop(key)
        if not self._is_full:
            self._waiting[key] = failures
            self._waiting.move_to_end(key, last=False)

    def defer(self, key: RecordingKey, due: float) -> None:
        """From flight to rest until ``due``: it failed."""
        failures = self._in_flight.pop(key) + 1
        if len(self._resting) < self._resting_limit:
            self._resting[key] = failures
            heapq.heappush(self._dues, (due, key))

    def drop_deferred(self) -> None:
        """All of them; they are found on disk again, as if they had never failed."""
        self._resting.clear()
        self._dues.clear()

    @property
    def _is_full(self) -> bool:
        return self.waiting >= self._limit + self._new_limit

    def _knows(self, key: RecordingKey) -> bool:
        return any(key in those for those in (self._new, self._waiting, self._in_flight, self._resting))

    def _take_rested(self, now: float, _newest: bool) -> Taken | None:
        if not self._dues or self._dues[0][0] > now:
            return None
        key = heapq.heappop(self._dues)[1]
        return key, self._resting.pop(key)

    def _take_new(self, _now: float, newest: bool) -> Taken | None:
        return self._new.popitem(last=newest) if self._new else None

    def _take_waiting(self, _now: float, newest: bool) -> Taken | None:
        return self._waiting.popitem(last=newest) if self._waiting else None
