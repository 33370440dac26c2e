"""What one outlet knows of the recordings that it is to deliver, in bounded memory (pure)."""

import heapq
from collections import OrderedDict
from typing import NamedTuple


class Key(NamedTuple):
    """A recording. In the order in which they are looked for: the oldest day first."""

    day: str
    id: str


class Queue:
    """Recordings that wait, are in flight, or rest after a failure of their own; each is in it once.

    One for which there is no room is forgotten, until it is found on disk again.

    :param limit: how many may wait; those in flight count, too, while others come.
    :param resting_limit: how many may rest.
    """

    def __init__(self, limit: int, resting_limit: int) -> None:
        self._limit = limit
        self._resting_limit = resting_limit
        # Each with the failures of its own.
        self._waiting: OrderedDict[Key, int] = OrderedDict()
        self._in_flight: dict[Key, int] = {}
        self._resting: dict[Key, int] = {}
        self._dues: list[tuple[float, Key]] = []  # a heap of those that rest
        self._was_rested = False

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def in_flight(self) -> int:
        """How many are being delivered."""
        return len(self._in_flight)

    @property
    def resting(self) -> int:
        """How many rest."""
        return len(self._resting)

    @property
    def room(self) -> int:
        """How many more may wait."""
        return max(0, self._limit - len(self._waiting) - len(self._in_flight))

    @property
    def is_low(self) -> bool:
        """Whether it is time to look for more on disk."""
        return self.room > 0 and len(self._waiting) <= self._limit // 4

    def known(self) -> frozenset[Key]:
        """All in it."""
        return frozenset((*self._waiting, *self._in_flight, *self._resting))

    def add(self, key: Key) -> bool:
        """To the end of those that wait, unless it is known. False when there is no room."""
        if key in self._waiting or key in self._in_flight or key in self._resting:
            return True
        if not self.room:
            return False
        self._waiting[key] = 0
        return True

    def take(self, now: float, newest: bool = False) -> Key | None:
        """The next one, which is in flight from now on; None when there is none.

        Those that rested enough take turns with those that wait, so that neither kind starves the other.

        :param newest: rather the one that came last, and one that has not failed.
        """
        rested = bool(self._dues) and self._dues[0][0] <= now
        if rested and not (self._waiting and (newest or self._was_rested)):
            key = heapq.heappop(self._dues)[1]
            failures = self._resting.pop(key)
        elif self._waiting:
            key, failures = self._waiting.popitem(last=newest)
            rested = False
        else:
            return None
        self._was_rested = rested
        self._in_flight[key] = failures
        return key

    def next_due(self) -> float | None:
        """When something can be taken that cannot be now, by the passing of time alone."""
        return self._dues[0][0] if self._dues else None

    def failures(self, key: Key) -> int:
        """How often it has failed, of those in flight."""
        return self._in_flight[key]

    def forget(self, key: Key) -> None:
        """It is delivered, or there is nothing to be delivered."""
        self._in_flight.pop(key, None)

    def put_back(self, key: Key) -> None:
        """From flight to the first place of those that wait: it was not its fault."""
        failures = self._in_flight.pop(key)
        if len(self._waiting) < self._limit:
            self._waiting[key] = failures
            self._waiting.move_to_end(key, last=False)

    def rest(self, key: Key, due: float) -> None:
        """From flight to rest until ``due``: it failed."""
        failures = self._in_flight.pop(key) + 1
        if len(self._resting) < self._resting_limit:
            self._resting[key] = failures
            heapq.heappush(self._dues, (due, key))

    def forget_resting(self) -> None:
        """All of them; they are found on disk again, as if they had never failed."""
        self._resting.clear()
        self._dues.clear()
