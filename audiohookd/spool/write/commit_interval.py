"""How long after a commit the next one begins (pure)."""

from typing import Final

#: Parts of ``flush`` that are kept for the commit itself. With a quarter, whatever commits took, one call in a
#: thousand was late on two cores with work for four. Where they are quick, fewer are enough: each costs as much as a
#: few frames.
MAX_MARGIN: Final = 0.4
MIN_MARGIN: Final = 0.2
#: Times the slowest commit of late, which the next one may take.
LEEWAY: Final = 4
#: What is left of that with each commit that is quicker.
DECAY: Final = 0.9


class CommitInterval:
    """What was given just after a commit began is written within ``flush`` seconds, if the next one is as quick."""

    def __init__(self, flush: float) -> None:
        self._flush = flush
        self._slowest = flush  # of late, in seconds: cautious to begin with

    @property
    def margin(self) -> float:
        """Seconds that a commit may take."""
        return min(MAX_MARGIN * self._flush, max(MIN_MARGIN * self._flush, LEEWAY * self._slowest))

    @property
    def period(self) -> float:
        """Seconds from the beginning of a commit to that of the next."""
        return self._flush - self.margin

    def observe(self, seconds: float) -> None:
        """So long after it was due a commit was done."""
        self._slowest = max(seconds, DECAY * self._slowest)
