"""A circuit breaker (pure): who cannot be reached is not asked by everyone, again and again.

Closed, everything may begin. Open, nothing may until some time has passed; then there is one trial, whose outcome
decides: a success closes the breaker, a failure keeps it open for longer.
"""

from audiohookd.delivery.backoff import Backoff

#: Seconds. What the other side asks for beyond that is not believed.
RETRY_AFTER_LIMIT = 3600.0


class Probe:
    """The one thing that was begun while the breaker was open."""


class Breaker:
    """The breaker of one outlet. All times in seconds of one clock.

    Who begins something gets a :class:`Trial`, or None where it is nothing special, and gives it back with the
    outcome: what was begun before the breaker opened must not be taken for the trial.
    """

    def __init__(self, backoff: Backoff) -> None:
        #: Whether what begins next is a trial.
        self.is_open = False
        #: Nothing may begin before.
        self.until = 0.0
        self._backoff = backoff
        self._failures = 0
        self._trial: Probe | None = None

    @property
    def is_half_open(self) -> bool:
        """Whether nothing may begin until the trial has ended, whatever the time."""
        return self._trial is not None

    def admits(self, now: float) -> bool:
        """Whether something may begin."""
        return self._trial is None and now >= self.until

    def begin(self) -> Probe | None:
        """Something begins, which is admitted."""
        if self.is_open:
            self._trial = Probe()
        return self._trial

    def close(self) -> None:
        """The other side is there: something succeeded. Or so we hope: all is to be tried at once."""
        self.is_open = False
        self._trial = None
        self.until = 0.0
        self._failures = 0

    def fail(self, trial: Probe | None, now: float, retry_after: float | None = None) -> None:
        """The other side is not there. What fails late, begun before the breaker opened, makes nothing worse.

        :param retry_after: seconds, when the other side named them.
        """
        asked = now + _believable(retry_after)
        if self.is_open and not self.is_current(trial):
            self.until = max(self.until, asked)
            return
        self._trial = None
        self.is_open = True
        self.until = max(now + self._backoff.delay(self._failures), asked)
        self._failures += 1

    def is_current(self, trial: Probe | None) -> bool:
        """Whether everything waits for the outcome of ``trial``."""
        return trial is not None and trial is self._trial

    def release(self, trial: Probe | None) -> None:
        """What was begun came to an end that tells nothing of the other side."""
        if self.is_current(trial):
            self._trial = None

    def pause(self, until: float) -> None:
        """Nothing may begin before ``until``, for a reason that is not the other side's."""
        self.until = max(self.until, until)


def _believable(seconds: float | None) -> float:
    """Never negative; not a number counts as nothing said."""
    return min(seconds, RETRY_AFTER_LIMIT) if seconds is not None and seconds > 0 else 0.0
