"""How many sessions one customer, or one integration of a customer, may have of all there are (pure)."""

from collections import Counter
from typing import Literal

from msgspec import Struct

from audiohookd.auth.keys.model import fingerprint

Exhausted = Literal["sessions-per-organization", "sessions-per-key"]


class Owner(Struct, frozen=True):
    """Whose a session is. An API key may be a password, so it is not shown."""

    organization: str
    key: str

    def __repr__(self) -> str:
        return f"Owner({self.organization!r})"


class Quotas:
    """Counts the sessions of each owner. Keeps nothing of those that have none.

    :param per_organization: the most that an organization may have; 0 for as many as there are.
    :param per_key: and so for an API key.
    """

    def __init__(self, per_organization: int = 0, per_key: int = 0) -> None:
        self._per_organization = per_organization
        self._per_key = per_key
        self._organizations: Counter[str] = Counter()
        self._keys: Counter[str] = Counter()

    def scaled(self, factor: int, spare: int) -> "Quotas":
        """Empty quotas that are ``factor`` times as large, and ``spare``; those of 0 stay 0."""
        quotas = (self._per_organization, self._per_key)
        return Quotas(*(factor * quota + spare if quota else 0 for quota in quotas))

    def exhausted(self, owner: Owner) -> Exhausted | None:
        """Which quota one more session of ``owner`` would exceed, if any."""
        if 0 < self._per_organization <= self._organizations[owner.organization]:
            return "sessions-per-organization"
        if 0 < self._per_key <= self._keys[owner.key]:
            return "sessions-per-key"
        return None

    def describe(self, exhausted: Exhausted, owner: Owner) -> str:
        """A quota that is exhausted: its setting, and whose it is."""
        if exhausted == "sessions-per-organization":
            return f"limits.sessions_per_organization is {self._per_organization}, organization {owner.organization}"
        return f"limits.sessions_per_key is {self._per_key}, API key {fingerprint(owner.key)}"

    def count(self, exhausted: Exhausted, owner: Owner) -> int:
        """How many ``owner`` has of what the quota is for."""
        if exhausted == "sessions-per-organization":
            return self._organizations[owner.organization]
        return self._keys[owner.key]

    def acquire(self, owner: Owner) -> None:
        """One more."""
        self._organizations[owner.organization] += 1
        self._keys[owner.key] += 1

    def release(self, owner: Owner) -> None:
        """One less; it was taken before."""
        _decrement(self._organizations, owner.organization)
        _decrement(self._keys, owner.key)


def _decrement(counts: Counter[str], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]
