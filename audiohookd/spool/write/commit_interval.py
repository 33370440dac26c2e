"""Adapts the interval between commits to the time that commits take (pure)."""

from typing import Final

#: Fractions of ``flush`` that are reserved for the commit itself. With a constant quarter, one call in a thousand was
#: late on two cores with work for four. When commits are quick a smaller margin is enough, and it makes commits
#: fewer: each costs as much as a few frames.
MAX_MARGIN: Final = 0.4
MIN_MARGIN: Final = 0.2
#: The next commit may take this many times as long as the slowest recent one.
LEEWAY: Final = 4
#: Each quicker commit multiplies the time of the slowest recent one by this.
DECAY: Final = 0.9


class CommitInterval:
    """Chooses the interval between commits, so that audio is written within ``flush`` seconds after it arrives.

    The bound also holds for audio that arrives just after a commit began, as long as the next one is as quick.
    """

    def __init__(self, flush: float) -> None:
        self._flush = flush
        self._slowest = flush  # seconds that the slowest recent commit took; the first value is a cautious guess

    @property
    def margin(self) -> float:
        """Seconds reserved for a commit."""
        return min(MAX_MARGIN * self._flush, max(MIN_MARGIN * self._flush, LEEWAY * self._slowest))

    @property
    def period(self) -> float:
        """Seconds from the start of a commit to the start of the next."""
        return self._flush - self.margin

    def observe(self, seconds: float) -> None:
        """Records that a commit ended ``seconds`` after it was due."""
        self._slowest = max(seconds, DECAY * self._slowest)
