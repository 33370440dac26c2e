"""When to retry (pure): exponential backoff of recordings, and the circuit breaker of a destination."""

from collections.abc import Callable

from msgspec import Struct

#: 2.0 to a larger power overflows a float.
_LARGEST_EXPONENT = 1000
#: Seconds. A longer Retry-After of the destination is shortened to this.
RETRY_AFTER_LIMIT = 3600.0


class Backoff(Struct, frozen=True):
    """A random delay between 0 and a bound that doubles with each failure.

    The jitter spreads retries of recordings that failed together.

    :param first: the bound after the first failure, in seconds.
    :param limit: the largest bound, in seconds.
    :param random: returns a uniform random number, at least 0 and less than 1.
    """

    first: float
    limit: float
    random: Callable[[], float]

    def delay(self, failures: int) -> float:
        """Seconds to wait before the next attempt.

        :param failures: how many attempts failed before the last one.
        """
        bound = self.first * 2.0 ** min(failures, _LARGEST_EXPONENT)
        return self.random() * min(self.limit, bound)


class Probe:
    """The delivery that tests a destination while the breaker is half-open."""


class Breaker:
    """The circuit breaker of one destination. All times are seconds of one clock.

    ========= ============================= ==================================================
    State     Admits                        Changes
    ========= ============================= ==================================================
    closed    every delivery                open when the destination is unavailable
    open      none before :attr:`until`     half-open when the next delivery, a probe, begins
    half-open none until the probe ends     closed after a success, open for longer after a failure
    ========= ============================= ==================================================

    :meth:`begin` returns a :class:`Probe`, or None while the breaker is closed. The caller passes that value back
    with the outcome, so that a delivery that began before the breaker opened is not mistaken for the probe.
    """

    def __init__(self, backoff: Backoff) -> None:
        #: Whether the next delivery is a probe.
        self.is_open = False
        #: No delivery may begin before this time.
        self.until = 0.0
        self._backoff = backoff
        self._failures = 0
        self._probe: Probe | None = None

    @property
    def is_half_open(self) -> bool:
        """Whether a probe is in flight: until it ends, no delivery may begin."""
        return self._probe is not None

    def admits(self, now: float) -> bool:
        """Whether a delivery may begin at ``now``."""
        return self._probe is None and now >= self.until

    def begin(self) -> Probe | None:
        """Begins a delivery that :meth:`admits` allowed.

        :returns: the probe, when the breaker is open.
        """
        if self.is_open:
            self._probe = Probe()
        return self._probe

    def close(self) -> None:
        """Closes the breaker: a delivery succeeded, or an operator asked for a retry of everything."""
        self.is_open = False
        self._probe = None
        self.until = 0.0
        self._failures = 0

    def fail(self, probe: Probe | None, now: float, retry_after: float | None = None) -> None:
        """Opens the breaker, or keeps it open for longer: the destination is unavailable.

        A failure of a delivery that began before the breaker opened does not lengthen the backoff.

        :param retry_after: seconds, when the destination named them.
        """
        asked = now + _capped(retry_after)
        if self.is_open and not self.is_current(probe):
            self.until = max(self.until, asked)
            return
        self._probe = None
        self.is_open = True
        self.until = max(now + self._backoff.delay(self._failures), asked)
        self._failures += 1

    def is_current(self, probe: Probe | None) -> bool:
        """Whether ``probe`` is the probe in flight."""
        return probe is not None and probe is self._probe

    def release(self, probe: Probe | None) -> None:
        """Ends a delivery that says nothing about the destination."""
        if self.is_current(probe):
            self._probe = None

    def pause(self, until: float) -> None:
        """Lets no delivery begin before ``until``, for a reason on this machine."""
        self.until = max(self.until, until)


def _capped(seconds: float | None) -> float:
    """Seconds between 0 and :data:`RETRY_AFTER_LIMIT`; 0 when ``seconds`` is None or NaN."""
    return min(seconds, RETRY_AFTER_LIMIT) if seconds is not None and seconds > 0 else 0.0
