"""Rotates a secret with versions: for a time both the new and the previous version are valid. Pure."""

from dataclasses import replace

from audiohookd.auth.keys.model import Key, Keys


class Rotation:
    """Tracks when the current version became current.

    For the first version that is its creation time. For a later version it is the time at which it was first seen,
    because a version can be created long before it becomes current.
    """

    def __init__(self) -> None:
        self._version: str | None = None
        self._since = 0.0

    def since(self, version: str, created: float, now: float) -> float:
        """Records the current version, and returns the time of the last rotation. All times are UNIX seconds."""
        if version != self._version:
            self._since = min(created, now) if self._version is None else now
            self._version = version
        return self._since


def merge_versions(current: Keys, previous: Keys, until: float) -> Keys:
    """Merges two versions: the keys and secrets of ``previous`` stay valid until the UNIX time ``until``.

    The scope of a key that is in both is that of ``current``, so a new version can revoke it at once.
    """
    keys = {api_key: _expiring(key, until) for api_key, key in _items(previous)}
    keys |= {api_key: _with_previous(key, previous.lookup(api_key), until) for api_key, key in _items(current)}
    return Keys(keys)


def _items(keys: Keys) -> list[tuple[str, Key]]:
    return [(api_key, key) for api_key in keys if (key := keys.lookup(api_key)) is not None]


def _expiring(key: Key, until: float) -> Key:
    return replace(key, not_after=until if key.not_after is None else min(until, key.not_after))


def _with_previous(key: Key, old: Key | None, until: float) -> Key:
    return key if old is None else replace(key, previous=old.secrets, previous_until=until)
