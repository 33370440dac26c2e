"""A secret of several versions: while the new one is handed out, the old one goes on to work. Pure."""

from dataclasses import replace

from audiohookd.auth.keys.model import Key, Keys


class Rotation:
    """When the current version became that, as far as we can tell.

    At the first look it is when the version was made. After that it is when we first saw it: a version may be made
    long before it becomes the current one.
    """

    def __init__(self) -> None:
        self._version: str | None = None
        self._since = 0.0

    def since(self, version: str, made: float, now: float) -> float:
        """Tells of the current version, and returns the time of the last rotation. All in UNIX seconds."""
        if version != self._version:
            self._since = min(made, now) if self._version is None else now
            self._version = version
        return self._since


def merge_versions(current: Keys, previous: Keys, until: float) -> Keys:
    """``current``, and what only ``previous`` lets in, up to the UNIX time ``until``.

    A key that is in both is limited as ``current`` says: that is how to lock it out at once.
    """
    keys = {api_key: _leaving(key, until) for api_key, key in _items(previous)}
    keys |= {api_key: _joined(key, previous.lookup(api_key), until) for api_key, key in _items(current)}
    return Keys(keys)


def _items(keys: Keys) -> list[tuple[str, Key]]:
    return [(api_key, key) for api_key in keys if (key := keys.lookup(api_key)) is not None]


def _leaving(key: Key, until: float) -> Key:
    return replace(key, not_after=until if key.not_after is None else min(until, key.not_after))


def _joined(key: Key, old: Key | None, until: float) -> Key:
    return key if old is None else replace(key, previous=old.secrets, previous_until=until)
