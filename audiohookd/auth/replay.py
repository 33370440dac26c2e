"""Nonces already seen, so that a signature lets somebody in once only (protocol section 2.5)."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from zope.interface import Attribute, Interface, implementer

from audiohookd.auth.expired_ranges import ExpiredRanges

# zope interfaces describe methods without `self`.
# ruff: noqa: N805


def replay_window(max_age: float, skew: float) -> float:
    """For how many seconds after its first use a nonce has to be remembered.

    A signature verifies from `skew` seconds before `created` until `max_age + skew` seconds after it. Used as
    early as that, it can be repeated as late as that; later it is refused for its age.
    """
    return max_age + 2 * skew


#: Entries beyond the window that one question removes at most: more than it adds, and never a noticeable wait.
SWEEP = 16


class StoreDown(Exception):
    """Nobody can tell whether a nonce was seen before. The text is for the log: one line, without secrets."""


class IReplayStore(Interface):
    """Where nonces are remembered."""

    window = Attribute("For how many seconds after its first use a nonce is remembered, at least.")

    def first_use(key_id: str, nonce: str, created: float) -> Any:
        """Remember the nonce of a key, and say whether it is new: a bool, or a Deferred of one. Never blocks.

        `created` is that of the signature: once a nonce has expired, signatures of its time are not new. Of several
        that ask about the same nonce, in whatever process, one is told that it is new. Offer only nonces whose
        signature has verified: then no client without a secret can fill the store.

        :raises StoreDown: it cannot be told; so does a Deferred fail, and soon.
        """


def fingerprint(key_id: str, nonce: str) -> bytes:
    """What is kept of the nonce of a key: 32 bytes from which neither can be told."""
    # Surrogates: whatever a peer sends gets here as latin-1, and tests send more than that.
    return hashlib.sha256(f"{key_id}\n{nonce}".encode("utf-8", "surrogatepass")).digest()


@implementer(IReplayStore)
class MemoryReplayStore:
    """Nonces of the last `window` seconds, in memory. No wall clock is asked: none can make a nonce new again.

    Not shared between processes and forgotten at a restart, after which a signature works once more until it is
    too old. Not for use from several threads.

    :param clock: seconds, from any origin, that nobody can set.
    """

    def __init__(self, window: float, clock: Callable[[], float], limit: int = 100_000) -> None:
        self.window = window
        self._clock = clock
        self._limit = limit
        # When each was used first, and `created`. In a dict the first key takes longer to find the more were deleted
        # before it.
        self._seen: OrderedDict[bytes, tuple[float, float]] = OrderedDict()
        self._expired = ExpiredRanges(window)

    def __len__(self) -> int:
        return len(self._seen)

    def first_use(self, key_id: str, nonce: str, created: float) -> bool:
        """Remember the nonce of a key, and say whether it is new.

        Takes constant time on average. With `limit` nonces in the window every further one counts as used: rather
        refuse a call than accept a replay.
        """
        self._expire()
        # Hashed, so that the limit is one on memory whatever the length of a nonce.
        entry = fingerprint(key_id, nonce)
        if entry in self._seen or created in self._expired or len(self._seen) >= self._limit:
            return False
        self._seen[entry] = self._clock(), created
        return True

    def _expire(self) -> None:
        now = self._clock()
        for _ in range(SWEEP):
            if not self._seen or now - next(iter(self._seen.values()))[0] <= self.window:
                return
            _, (since, created) = self._seen.popitem(last=False)
            self._expired.add(created, since)
