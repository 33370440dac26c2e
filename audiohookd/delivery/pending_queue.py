"""The queue of recordings that one destination is to deliver, in bounded memory (pure)."""

import heapq
from collections import OrderedDict, deque
from typing import NamedTuple


class RecordingKey(NamedTuple):
    """Identifies a recording. Keys sort in the order of a scan: the oldest day first."""

    day: str
    id: str


#: A recording, and how often its own deliveries have failed.
Taken = tuple[RecordingKey, int]


class PendingQueue:
    """Recordings that are waiting, in flight, or deferred after a failure of their own; each is in one state.

    New recordings have their own places among the waiting ones, so a backlog on disk, or one that keeps failing, does
    not keep them out. A recording for which there is no room is forgotten until a scan finds it again.

    :param limit: how many may wait. Recordings in flight count, too, when others are added.
    :param deferred_limit: how many may be deferred.
    :param new_limit: how many new recordings may wait in addition.
    """

    def __init__(self, limit: int, deferred_limit: int, new_limit: int) -> None:
        self._limit = limit
        self._deferred_limit = deferred_limit
        self._new_limit = new_limit
        # Values: how often the recording has failed.
        self._new: OrderedDict[RecordingKey, int] = OrderedDict()
        self._waiting: OrderedDict[RecordingKey, int] = OrderedDict()
        self._in_flight: dict[RecordingKey, int] = {}
        self._deferred: dict[RecordingKey, int] = {}
        self._dues: list[tuple[float, RecordingKey]] = []  # a heap of the deferred recordings
        self._turns = deque([self._take_deferred, self._take_new, self._take_waiting])

    @property
    def waiting(self) -> int:
        """How many recordings wait."""
        return len(self._waiting) + len(self._new)

    @property
    def in_flight(self) -> int:
        """How many recordings are being delivered."""
        return len(self._in_flight)

    @property
    def deferred(self) -> int:
        """How many recordings are deferred."""
        return len(self._deferred)

    @property
    def room(self) -> int:
        """How many more may wait, apart from new ones."""
        return max(0, self._limit - len(self._waiting) - len(self._in_flight))

    @property
    def is_low(self) -> bool:
        """Whether it is time to scan the disk for more."""
        return self.room > 0 and len(self._waiting) <= self._limit // 4

    def known(self) -> frozenset[RecordingKey]:
        """All recordings in the queue."""
        return frozenset((*self._new, *self._waiting, *self._in_flight, *self._deferred))

    def add(self, key: RecordingKey) -> bool:
        """Appends a recording to the waiting ones, unless it is known.

        :returns: False when there is no room.
        """
        if self._is_known(key):
            return True
        if not self.room:
            return False
        self._waiting[key] = 0
        return True

    def add_new(self, key: RecordingKey) -> bool:
        """Adds a recording that has just become due, in the places of new ones.

        :returns: False when there is no room.
        """
        if self._is_known(key):
            return True
        if len(self._new) >= self._new_limit or self._is_full:
            return False
        self._new[key] = 0
        return True

    def take(self, now: float, newest: bool = False) -> RecordingKey | None:
        """Takes the next recording, which is then in flight; None when no recording is due.

        Deferred recordings that are due, new ones and waiting ones take turns, so that no kind starves another.

        :param newest: prefer the recording that was added last, and one without failures.
        """
        order = (self._take_new, self._take_waiting, self._take_deferred) if newest else tuple(self._turns)
        for take in order:
            taken = take(now, newest)
            if taken is not None:
                self._turns.remove(take)
                self._turns.append(take)
                key, self._in_flight[key] = taken
                return key
        return None

    def next_due(self) -> float | None:
        """When the first deferred recording becomes due; None when none is deferred."""
        return self._dues[0][0] if self._dues else None

    def failures(self, key: RecordingKey) -> int:
        """How often a recording in flight has failed before."""
        return self._in_flight[key]

    def forget(self, key: RecordingKey) -> None:
        """Removes a recording that is delivered, or that needs no delivery."""
        self._in_flight.pop(key, None)

    def requeue(self, key: RecordingKey) -> None:
        """Moves a recording from flight to the front of the waiting ones, without counting a failure."""
        failures = self._in_flight.pop(key)
        if not self._is_full:
            self._waiting[key] = failures
            self._waiting.move_to_end(key, last=False)

    def defer(self, key: RecordingKey, due: float) -> None:
        """Defers a recording in flight until ``due``, and counts a failure."""
        failures = self._in_flight.pop(key) + 1
        if len(self._deferred) < self._deferred_limit:
            self._deferred[key] = failures
            heapq.heappush(self._dues, (due, key))

    def drop_deferred(self) -> None:
        """Forgets all deferred recordings. A scan finds them again, with no failures counted."""
        self._deferred.clear()
        self._dues.clear()

    @property
    def _is_full(self) -> bool:
        return self.waiting >= self._limit + self._new_limit

    def _is_known(self, key: RecordingKey) -> bool:
        return any(key in group for group in (self._new, self._waiting, self._in_flight, self._deferred))

    def _take_deferred(self, now: float, _newest: bool) -> Taken | None:
        if not self._dues or self._dues[0][0] > now:
            return None
        key = heapq.heappop(self._dues)[1]
        return key, self._deferred.pop(key)

    def _take_new(self, _now: float, newest: bool) -> Taken | None:
        return self._new.popitem(last=newest) if self._new else None

    def _take_waiting(self, _now: float, newest: bool) -> Taken | None:
        return self._waiting.popitem(last=newest) if self._waiting else None
