"""Limits how many sessions one organization, or one API key, may have (pure)."""

from collections import Counter
from typing import Literal

from msgspec import Struct

from audiohookd.auth.keys.model import fingerprint

Exhausted = Literal["sessions-per-organization", "sessions-per-key"]


class Owner(Struct, frozen=True):
    """The organization and the API key of a session. The key may be a password, so ``repr`` omits it."""

    organization: str
    key: str

    def __repr__(self) -> str:
        return f"Owner({self.organization!r})"


class Quotas:
    """Counts the sessions of each owner, and stores nothing for owners without sessions.

    :param per_organization: the most sessions of an organization; 0 for no limit.
    :param per_key: the most sessions of an API key; 0 for no limit.
    """

    def __init__(self, per_organization: int = 0, per_key: int = 0) -> None:
        self._per_organization = per_organization
        self._per_key = per_key
        self._organizations: Counter[str] = Counter()
        self._keys: Counter[str] = Counter()

    def scaled(self, factor: int, spare: int) -> "Quotas":
        """New quotas without sessions: each limit times ``factor`` plus ``spare``; no limit stays no limit."""
        quotas = (self._per_organization, self._per_key)
        return Quotas(*(factor * quota + spare if quota else 0 for quota in quotas))

    def exhausted(self, owner: Owner) -> Exhausted | None:
        """The quota that one more session of ``owner`` would exceed, or None."""
        if 0 < self._per_organization <= self._organizations[owner.organization]:
            return "sessions-per-organization"
        if 0 < self._per_key <= self._keys[owner.key]:
            return "sessions-per-key"
        return None

    def describe(self, exhausted: Exhausted, owner: Owner) -> str:
        """Describes an exhausted quota: its setting, its value and its owner."""
        if exhausted == "sessions-per-organization":
            return f"limits.sessions_per_organization is {self._per_organization}, organization {owner.organization}"
        return f"limits.sessions_per_key is {self._per_key}, API key {fingerprint(owner.key)}"

    def count(self, exhausted: Exhausted, owner: Owner) -> int:
        """How many sessions count against this quota of ``owner``."""
        if exhausted == "sessions-per-organization":
            return self._organizations[owner.organization]
        return self._keys[owner.key]

    def acquire(self, owner: Owner) -> None:
        """Counts one more session of ``owner``."""
        self._organizations[owner.organization] += 1
        self._keys[owner.key] += 1

    def release(self, owner: Owner) -> None:
        """Counts one session less; it must have been acquired before."""
        _decrement(self._organizations, owner.organization)
        _decrement(self._keys, owner.key)


def _decrement(counts: Counter[str], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]
