"""Token buckets for rate limits (pure; the caller passes the time)."""

from collections import OrderedDict
from collections.abc import Hashable
from math import inf

from msgspec import Struct

#: Seconds of the rate that :meth:`PrepaidTokens.grant_grace` grants.
GRACE_SECONDS = 5


class Rate(Struct, frozen=True):
    """A rate limit: ``per_second`` in the long run, and ``burst`` at once. Neither is 0."""

    per_second: float
    burst: float


class TokenBucket:
    """A token bucket, full at first. Each event takes a token; time refills the bucket.

    :param now: seconds of a monotonic clock.
    """

    __slots__ = ("_rate", "_tokens", "_updated_at")

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._updated_at = now
        self._tokens = rate.burst

    def take(self, now: float, limit: int = 1) -> int:
        """Takes up to ``limit`` whole tokens. Returns how many it took."""
        earned = (now - self._updated_at) * self._rate.per_second
        self._tokens = min(self._rate.burst, self._tokens + earned)
        self._updated_at = now
        taken = min(limit, int(self._tokens))
        self._tokens -= taken
        return taken

    def take_all(self, now: float, amount: int) -> bool:
        """Takes ``amount`` tokens, or none if there are fewer. True if it took them."""
        taken = self.take(now, amount)
        if taken < amount:
            self._tokens += taken
        return taken == amount

    def refund(self) -> None:
        """Returns one taken token."""
        self._tokens = min(self._rate.burst, self._tokens + 1)


class KeyedTokenBuckets:
    """Token buckets by key. Only the ``limit`` most recently used buckets are kept.

    A dropped key starts again with a full bucket, so a common bucket for all keys is needed, too.
    """

    def __init__(self, rate: Rate, limit: int) -> None:
        self._rate = rate
        self._limit = limit
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Hashable, now: float) -> bool:
        """Takes a token from the bucket of ``key``. False if it is empty."""
        bucket = self._buckets.pop(key, None) or TokenBucket(self._rate, now)
        self._buckets[key] = bucket
        if len(self._buckets) > self._limit:
            self._buckets.popitem(last=False)
        return bucket.take(now) == 1

    def refund(self, key: Hashable) -> None:
        """Returns one taken token. Has no effect if the bucket was dropped."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            bucket.refund()


class PrepaidTokens:
    """Tokens that are taken from a bucket in portions of one second, so that most events need no clock.

    The caller decrements ``left`` for each event, and calls :meth:`renew` when it is below 0.

    :param rate: None for no limit.
    """

    __slots__ = ("_bucket", "_portion", "left")

    def __init__(self, rate: Rate | None, now: float) -> None:
        self._bucket = None if rate is None else TokenBucket(rate, now)
        self._portion = 1 if rate is None else max(1, int(rate.per_second))
        #: Remaining tokens of the portion.
        self.left: float = inf if rate is None else 0

    def renew(self, now: float) -> bool:
        """Takes the next portion from the bucket. An event that it rejects is not counted.

        :returns: False if the bucket does not cover the events that were counted.
        """
        if self._bucket is not None:
            self.left += self._bucket.take(now, max(self._portion, int(-self.left)))
        if self.left >= 0:
            return True
        self.left = 0
        return False

    def grant_grace(self) -> None:
        """Grants :data:`GRACE_SECONDS` of the rate, for messages under way and for a clean close."""
        self.left = GRACE_SECONDS * self._portion
