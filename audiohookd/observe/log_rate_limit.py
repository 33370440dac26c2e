"""Log lines that strangers can cause must not fill a disk (pure; time is handed in)."""

#: Seconds after which as many lines may be written again.
PERIOD = 60.0


class LogRateLimit:
    """So many lines of a kind in each minute; the next one that is written tells how many were not.

    :param limit: how many.
    :param kinds: how many kinds are told apart; with one more, all are forgotten, and what they left out with them.
    """

    def __init__(self, limit: int = 20, kinds: int = 256) -> None:
        self._limit = limit
        self._kinds = kinds
        self._counts: dict[str, tuple[float, int]] = {}

    def admit(self, kind: str, now: float) -> int | None:
        """None when the line is to be left out, else how many were left out since the last one that was not.

        :param now: seconds, from any origin, never going back.
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
