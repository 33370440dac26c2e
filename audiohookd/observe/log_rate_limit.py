"""Limits the rate of log lines that clients can cause, so that they cannot fill a disk (pure)."""

#: Seconds after which as many lines may be written again.
PERIOD = 60.0


class LogRateLimit:
    """Admits a number of lines of each kind per minute, and counts the suppressed ones.

    :param limit: the most lines of a kind per minute.
    :param kinds: the most kinds. One more resets all of them, with their counts.
    """

    def __init__(self, limit: int = 20, kinds: int = 256) -> None:
        self._limit = limit
        self._kinds = kinds
        self._counts: dict[str, tuple[float, int]] = {}

    def admit(self, kind: str, now: float) -> int | None:
        """Decides whether to write a line.

        :param now: seconds of a monotonic clock.
        :returns: None to suppress the line; else how many were suppressed in the previous period.
        """
        began, count = self._counts.get(kind, (now, 0))
        left_out = 0
        if now - began >= PERIOD:
            left_out = max(0, count - self._limit)
            began, count = now, 0
        if kind not in self._counts and len(self._counts) >= self._kinds:
            self._counts.clear()
        self._counts[kind] = (began, count + 1)
        return left_out if count < self._limit else None
