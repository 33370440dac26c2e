"""How often something may happen: token buckets (pure; time is handed in)."""

from collections import OrderedDict
from collections.abc import Hashable
from math import inf

from msgspec import Struct

#: Seconds' worth.
GRACE_SECONDS = 5


class Rate(Struct, frozen=True):
    """So many per second in the long run, and ``depth`` at once. Neither is 0."""

    per_second: float
    burst: float


class TokenBucket:
    """Full at first. Whatever happens takes one token out, and time puts them in again.

    :param now: seconds, from any origin, never going back.
    """

    __slots__ = ("_rate", "_tokens", "_updated_at")

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._updated_at = now
        self._tokens = rate.burst

    def take(self, now: float, limit: int = 1) -> int:
        """Takes out up to ``most`` whole tokens; how many there were to take."""
        earned = (now - self._updated_at) * self._rate.per_second
        self._tokens = min(self._rate.burst, self._tokens + earned)
        self._updated_at = now
        taken = min(limit, int(self._tokens))
        self._tokens -= taken
        return taken

    def take_all(self, now: float, amount: int) -> bool:
        """Takes out ``amount`` tokens, or none when there are fewer."""
        taken = self.take(now, amount)
        if taken < amount:
            self._tokens += taken
        return taken == amount

    def refund(self) -> None:
        """One token that was taken did not count after all."""
        self._tokens = min(self._rate.burst, self._tokens + 1)


class KeyedTokenBuckets:
    """One for each of many; of those that are not among the last ``places`` nothing is known.

    Whoever is forgotten begins anew, so there has to be a bucket for all together, too.
    """

    def __init__(self, rate: Rate, limit: int) -> None:
        self._rate = rate
        self._limit = limit
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Hashable, now: float) -> bool:
        """Takes a token out of the bucket of ``who``; False when it is empty."""
        bucket = self._buckets.pop(key, None) or TokenBucket(self._rate, now)
        self._buckets[key] = bucket
        if len(self._buckets) > self._limit:
            self._buckets.popitem(last=False)
        return bucket.take(now) == 1

    def refund(self, key: Hashable) -> None:
        """See :meth:`Bucket.give_back`. Harmless when it is forgotten."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            bucket.refund()


class PrepaidTokens:
    """A bucket that is carried off in portions of a second's worth: who counts ``left`` down needs no clock for it.

    Count down first, and when it has gone below 0, :meth:`renew`.

    :param rate: None for no limit.
    """

    __slots__ = ("_bucket", "_portion", "left")

    def __init__(self, rate: Rate | None, now: float) -> None:
        self._bucket = None if rate is None else TokenBucket(rate, now)
        self._portion = 1 if rate is None else max(1, int(rate.per_second))
        #: What may still happen before the clock has to be looked at.
        self.left: float = inf if rate is None else 0

    def renew(self, now: float) -> bool:
        """Adds the next portion; False when the bucket holds less than what was counted beyond the last one.

        What did not pass is not counted.
        """
        if self._bucket is not None:
            self.left += self._bucket.take(now, max(self._portion, int(-self.left)))
        if self.left >= 0:
            return True
        self.left = 0
        return False

    def grant_grace(self) -> None:
        """Some seconds' worth more, that was not earned: for a goodbye, and what was under way before it."""
        self.left = GRACE_SECONDS * self._portion
