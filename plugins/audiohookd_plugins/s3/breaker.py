"""The circuit breaker of a bucket (pure; times are seconds of any clock)."""

#: Seconds without attempts after the first failure, and at most; the time doubles with each failure.
FIRST_REST = 5.0
LONGEST_REST = 300.0
#: Seconds. A longer Retry-After is shortened to this.
LONGEST_RETRY_AFTER = 3600.0


class Breaker:
    """Tracks whether one bucket is available.

    While it is available, every upload may use it. After a failure it rests, then one attempt at a time may test it.
    """

    def __init__(self) -> None:
        self._down_since: float | None = None
        self._failed_at = 0.0
        self._rest = FIRST_REST
        self._is_tried = False

    def down_for(self, now: float) -> float:
        """Seconds since it became unavailable; 0 while it is available."""
        return 0.0 if self._down_since is None else max(0.0, now - self._down_since)

    def admits(self, now: float) -> bool:
        """Whether to attempt an upload now.

        While the bucket is down, True must be followed by :meth:`worked`, :meth:`failed` or :meth:`given_up`.
        """
        if self._down_since is None:
            return True
        # a clock that was set back does not lengthen the rest
        is_resting = 0 <= now - self._failed_at < self._rest
        if is_resting or self._is_tried:
            return False
        self._is_tried = True
        return True

    def worked(self) -> None:
        """Records a success."""
        self.__init__()  # type: ignore[misc]

    def failed(self, now: float, retry_after: float | None = None) -> None:
        """Records that the bucket is unavailable.

        :param retry_after: seconds, if the store named them.
        """
        if self._down_since is None:
            self._down_since = now
        elif self._is_tried:
            self._rest = min(2 * self._rest, LONGEST_REST)
        self._rest = max(self._rest, min(retry_after or 0.0, LONGEST_RETRY_AFTER))
        self._failed_at = now
        self._is_tried = False

    def given_up(self) -> None:
        """Records that the attempt ended without saying whether the bucket is available."""
        self._is_tried = False
