"""How long to wait before the next try (pure): exponential, with full jitter."""

from collections.abc import Callable

from msgspec import Struct

#: 2 to the power of more than that is no float.
_LARGEST_EXPONENT = 1000


class Backoff(Struct, frozen=True):
    """Any time from 0 up to a bound that doubles with each failure: those who failed together come back apart.

    :param first: the bound after the first failure, in seconds.
    :param limit: what no bound is above, in seconds.
    :param random: evenly from 0 up to, but not including, 1.
    """

    first: float
    limit: float
    random: Callable[[], float]

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures before this one."""
        bound = self.first * 2.0 ** min(failures, _LARGEST_EXPONENT)
        return self.random() * min(self.limit, bound)
