"""Whether a bucket that could not be had is worth another try (pure; times are seconds of any clock)."""

#: How long it rests after its first failure, and after many: the time doubles.
FIRST_REST = 5.0
LONGEST_REST = 300.0
#: What it asks for beyond that is not believed.
LONGEST_RETRY_AFTER = 3600.0


class Breaker:
    """Knows one bucket from its answers.

    While it works, everything may try it. Once it failed it rests, and then one at a time may try.
    """

    def __init__(self) -> None:
        self._down_since: float | None = None
        self._failed_at = 0.0
        self._rest = FIRST_REST
        self._is_tried = False

    def down_for(self, now: float) -> float:
        """For how long it could not be had; 0 while it works."""
        return 0.0 if self._down_since is None else max(0.0, now - self._down_since)

    def admits(self, now: float) -> bool:
        """Whether to try now. When it is down, a True must be followed by an answer, or by :meth:`given_up`."""
        if self._down_since is None:
            return True
        # A clock that was set back does not prolong the rest.
        is_resting = 0 <= now - self._failed_at < self._rest
        if is_resting or self._is_tried:
            return False
        self._is_tried = True
        return True

    def worked(self) -> None:
        """It did what was asked."""
        self.__init__()  # type: ignore[misc]

    def failed(self, now: float, retry_after: float | None = None) -> None:
        """It could not be had, and said perhaps that it cannot for so many seconds."""
        if self._down_since is None:
            self._down_since = now
        elif self._is_tried:
            self._rest = min(2 * self._rest, LONGEST_REST)
        self._rest = max(self._rest, min(retry_after or 0.0, LONGEST_RETRY_AFTER))
        self._failed_at = now
        self._is_tried = False

    def given_up(self) -> None:
        """Nobody knows what became of the try."""
        self._is_tried = False
