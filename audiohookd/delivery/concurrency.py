"""Adaptive limit of concurrent deliveries (pure): as many as do not delay calls.

Worker threads share one interpreter with the reactor. Eight concurrent uploads to a nearby store delayed calls by 44
to 79 ms at worst. Two uploads delayed them by 29 to 38 ms, and still reached six sevenths of the throughput. Uploads
to a distant store mostly wait, so more of them do no harm.
"""

from typing import Final

#: The lowest limit. At one second for each recording of 5 minutes, it is enough for 600 concurrent calls.
MIN_CONCURRENCY: Final = 2
#: Seconds of uninterrupted work that raise the lowest limit by one, until no delivery is in flight. Without this, a
#: reactor that is always late would let recordings pile up until the disk is full.
BUSY_INTERVAL: Final = 30.0
#: Seconds between the end of a thread's work and its handling in the reactor. A longer latency delays calls. With
#: three concurrent deliveries the maximum was 2 ms; with five or more, one in a hundred was above 7 ms.
MAX_LATENCY: Final = 0.004
#: Seconds without excessive latency after which the limit rises by one.
RAISE_INTERVAL: Final = 1.0


class ConcurrencyLimit:
    """Raises the limit by one per second while it is reached, and halves it when the reactor is late.

    The limit does not fall below :data:`MIN_CONCURRENCY`, plus one for each :data:`BUSY_INTERVAL` of uninterrupted
    work.

    Times are monotonic seconds from any origin.

    :param most: the highest limit, at least 1.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = min(MIN_CONCURRENCY, most)
        self._begun = 0.0  # when the last idle period ended
        self._since = 0.0  # when the limit last rose, or the reactor was last late

    def admits(self, in_flight: int, now: float) -> bool:
        """Whether one more delivery may begin beside the ``in_flight`` others."""
        if not in_flight:
            self._begun = self._since = now
            self._open = self._minimum(now)
        elif self._open == in_flight < self._most and now >= self._since + RAISE_INTERVAL:
            self._open, self._since = self._open + 1, now
        return in_flight < self._open

    def next_slot_at(self, in_flight: int) -> float | None:
        """When one more delivery may begin; a time in the past means now, None means after another delivery has
        ended.
        """
        if in_flight < self._open:
            return self._since
        return self._since + RAISE_INTERVAL if self._open == in_flight < self._most else None

    def record_latency(self, seconds: float, now: float) -> None:
        """Records that the reactor handled the result of a thread ``seconds`` after it was ready."""
        if seconds > MAX_LATENCY:
            self._open, self._since = max(self._minimum(now), self._open // 2), now

    def _minimum(self, now: float) -> int:
        return min(self._most, MIN_CONCURRENCY + int((now - self._begun) / BUSY_INTERVAL))
