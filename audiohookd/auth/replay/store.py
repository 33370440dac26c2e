"""Stores used nonces, so that a signature is accepted only once (protocol section 2.5)."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from zope.interface import Attribute, Interface, implementer

from audiohookd.auth.replay.expired_ranges import ExpiredRanges

# zope interfaces describe methods without ``self``.
# ruff: noqa: N805


def replay_window(max_age: float, skew: float) -> float:
    """Returns for how many seconds after its first use a nonce must be stored.

    A signature verifies from ``skew`` seconds before ``created`` until ``max_age + skew`` seconds after it. A request
    at the earliest moment can be replayed until the latest; after that it is rejected for its age.
    """
    return max_age + 2 * skew


#: Most expired entries that one lookup removes: more than it adds, and too few to delay it.
SWEEP = 16


class StoreUnavailable(Exception):
    """The store cannot tell whether a nonce is new. The text is for the log: one line, without secrets."""


class IReplayStore(Interface):
    """A store of used nonces."""

    window = Attribute("Seconds for which a nonce is stored after its first use, at least.")

    def first_use(key_id: str, nonce: str, created: float) -> Any:
        """Stores the nonce of a key, and returns whether it is new: a bool, or a Deferred of one. Never blocks.

        If several callers look up the same nonce, in any process, it is new for exactly one of them. Once a nonce has
        expired, signatures with its ``created`` are not new. Call this only after the signature has been verified, so
        that a client without a secret cannot fill the store.

        :param created: that of the signature, in UNIX seconds.
        :raises StoreUnavailable: the store is down. A Deferred fails with it, soon.
        """


def nonce_digest(key_id: str, nonce: str) -> bytes:
    """Returns a hash of a key and its nonce, 32 bytes, that reveals neither."""
    # Text of a peer is latin-1. Tests pass surrogates, too.
    return hashlib.sha256(f"{key_id}\n{nonce}".encode("utf-8", "surrogatepass")).digest()


@implementer(IReplayStore)
class MemoryReplayStore:
    """Nonces of the last ``window`` seconds, in memory. Setting the wall clock does not make a nonce new again.

    Not shared between processes, and lost at a restart: after it, a signature is accepted once more until it is too
    old. Not thread-safe.

    :param clock: monotonic seconds, from any origin.
    """

    def __init__(self, window: float, clock: Callable[[], float], limit: int = 100_000) -> None:
        self.window = window
        self._clock = clock
        self._limit = limit
        # The time of the first use, and ``created``. Not a dict: finding its first key takes longer the more keys
        # were deleted before it.
        self._seen: OrderedDict[bytes, tuple[float, float]] = OrderedDict()
        self._expired = ExpiredRanges(window)

    def __len__(self) -> int:
        return len(self._seen)

    def first_use(self, key_id: str, nonce: str, created: float) -> bool:
        """Stores the nonce of a key, and returns whether it is new. Takes constant time on average.

        With ``limit`` nonces in the window every further one counts as used: a full store rejects calls rather than
        accept a replay.
        """
        self._expire()
        # Hashed, so that the limit bounds the memory for nonces of any length.
        entry = nonce_digest(key_id, nonce)
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
