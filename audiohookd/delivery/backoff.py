"""Retry delays: exponential backoff with full jitter (pure)."""

from collections.abc import Callable

from msgspec import Struct

#: 2.0 to a larger power overflows a float.
_LARGEST_EXPONENT = 1000


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
