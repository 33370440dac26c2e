"""How many recordings are delivered at once (pure): as many as leave the calls alone.

Threads that compute share one interpreter with the reactor. Eight uploads at once to a store nearby kept calls
waiting for 44 to 79 ms at worst, two for 29 to 38, and carried six sevenths of what eight did. To a store far away
threads do little but wait, and more of them are no harm.
"""

from typing import Final

#: Lanes that are always open: at a second for each recording of 5 minutes, those of 600 calls at a time.
FEWEST: Final = 2
#: Seconds of work without a pause that open one more for good, until there is one: who is late all the time, for
#: whatever reason, must not have recordings pile up until the disk is full.
PATIENCE: Final = 30.0
#: Seconds after which the reactor takes up what a thread has done: beyond, calls suffer. With three lanes it took
#: 2 ms at most, with five or more above 7 one time in a hundred.
LATE: Final = 0.004
#: Seconds in which nothing was late, after which one lane more is opened.
CALM: Final = 1.0


class ConcurrencyLimit:
    """Opens one more each second while all are in use, and closes half of them as soon as calls suffer.

    The fewest are :data:`FEWEST`, and one more for each :data:`PATIENCE` of work without a pause.

    Times are in seconds, from any origin, never going back.

    :param most: how many at once, at least 1.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = min(FEWEST, most)
        self._begun = 0.0  # when nothing was under way for the last time
        self._since = 0.0  # when one was opened last, or something was late

    def admits(self, in_flight: int, now: float) -> bool:
        """Whether one more may begin beside those that are under way."""
        if not in_flight:
            self._begun = self._since = now
            self._open = self._fewest(now)
        elif self._open == in_flight < self._most and now >= self._since + CALM:
            self._open, self._since = self._open + 1, now
        return in_flight < self._open

    def next_slot_at(self, in_flight: int) -> float | None:
        """When one more may begin; in the past: now. None: not before another one has ended."""
        if in_flight < self._open:
            return self._since
        return self._since + CALM if self._open == in_flight < self._most else None

    def record_latency(self, seconds: float, now: float) -> None:
        """So long after a thread was done the reactor took it up."""
        if seconds > LATE:
            self._open, self._since = max(self._fewest(now), self._open // 2), now

    def _fewest(self, now: float) -> int:
        return min(self._most, FEWEST + int((now - self._begun) / PATIENCE))
