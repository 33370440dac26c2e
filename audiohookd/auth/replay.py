"""Nonces already seen, so that a signature lets somebody in once only (protocol section 2.5)."""

import hashlib
from collections import OrderedDict


def replay_window(max_age: float, skew: float) -> float:
    """For how many seconds after its first use a nonce has to be remembered.

    A signature verifies from `skew` seconds before `created` until `max_age + skew` seconds after it. Used as
    early as that, it can be repeated as late as that; later it is refused for its age.
    """
    return max_age + 2 * skew


class MemoryReplayStore:
    """Nonces of the last `window` seconds, in memory.

    Offer it only nonces whose signature has verified: then nobody without a secret can fill it. Not shared
    between processes and forgotten at a restart, after which a signature works once more until it is too old.
    Not for use from several threads.
    """

    def __init__(self, window: float, limit: int = 100_000) -> None:
        self.window = window
        self._limit = limit
        # Oldest first. In a dict the first key takes longer to find the more were deleted before it.
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def first_use(self, key_id: str, nonce: str, now: float) -> bool:
        """Remember the nonce of a key, and say whether it is new.

        `now` is in seconds, from the clock by which the signature was verified. Takes constant time on
        average. With `limit` nonces in the window every further one counts as used: rather refuse a call than
        accept a replay.
        """
        self._forget(now)
        # Hashed, so that the limit is one on memory whatever the length of a nonce.
        entry = hashlib.sha256(f"{key_id}\n{nonce}".encode("utf-8", "surrogatepass")).digest()
        if entry in self._seen or len(self._seen) >= self._limit:
            return False
        self._seen[entry] = now
        return True

    def _forget(self, now: float) -> None:
        # Should the clock be set back, entries wait for the one before them: kept too long, never too short.
        while self._seen and now - next(iter(self._seen.values())) > self.window:
            self._seen.popitem(last=False)
