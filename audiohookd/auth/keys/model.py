"""API keys with their secrets and scope, and the interface of a source of keys."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from zope.interface import Attribute, Interface

#: The secret of a key for unsigned requests.
UNSIGNED = b""
#: Bytes. A shorter secret works, but is warned of: one signed request is enough to find it by brute force.
SHORT_SECRET = 16
#: Secrets of a key, two while one replaces the other. The previous version of a source may add as many.
MAX_SECRETS = 2


class KeySourceError(ValueError):
    """The keys of a source cannot be used. The text is one line for the operator, with the remedy.

    It never contains a secret, a part of one, or an API key, which is a password for unsigned requests.
    """


class SourceUnavailable(KeySourceError):
    """A source does not answer, or cannot answer now. Its configuration may be correct."""


@dataclass(frozen=True, slots=True)
class Key:
    """The secrets and the scope of an API key. The representation shows no secret.

    :param secrets: one or two. A signature with any of them is valid; ``UNSIGNED`` accepts unsigned requests.
    :param organizations: the ids of organizations that may use the key, in lower case; None: all.
    :param routes: the paths that the key may be used for; None: all.
    :param not_after: UNIX seconds. From then on requests with the key are rejected.
    :param previous: more secrets, valid until the UNIX time ``previous_until``.
    """

    secrets: tuple[bytes, ...] = field(repr=False)
    organizations: frozenset[str] | None = None
    routes: frozenset[str] | None = None
    not_after: float | None = None
    previous: tuple[bytes, ...] = field(default=(), repr=False)
    previous_until: float = 0.0

    def __post_init__(self) -> None:
        # A key without any secret could be taken for an open one. For the upper bound, see message_signature._TRIES.
        if not 1 <= len(self.secrets) <= MAX_SECRETS or len(self.previous) > MAX_SECRETS:
            raise ValueError(f"a key has 1 to {MAX_SECRETS} secrets, and one without a secret has UNSIGNED")

    def secrets_at(self, now: float) -> tuple[bytes, ...]:
        """Returns the secrets that are valid at the UNIX time ``now``, without duplicates."""
        valid = self.secrets + (self.previous if now < self.previous_until else ())
        return tuple(dict.fromkeys(valid))


class IKeys(Protocol):
    """Looks up API keys, in the reactor thread, without blocking."""

    def lookup(self, api_key: str) -> Key | None:
        """None for an unknown key."""


class Keys:
    """An immutable mapping of API keys to their secrets and scope. The representation shows neither."""

    def __init__(self, keys: Mapping[str, Key]) -> None:
        self._keys = MappingProxyType(dict(keys))

    def lookup(self, api_key: str) -> Key | None:
        """None for an unknown key."""
        return self._keys.get(api_key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keys) and self._keys == other._keys

    def __hash__(self) -> int:
        return hash(frozenset(self._keys))

    def __repr__(self) -> str:
        unsigned = sum(UNSIGNED in key.secrets for key in self._keys.values())
        return f"<Keys: {len(self)}, of which {unsigned} without a secret>"


class IKeySource(Interface):
    """A source of API keys and secrets."""

    name = Attribute("Its setting in the configuration, such as ``auth.keys_file``.")
    interval = Attribute("Seconds between two polls of the source; None: it never changes.")

    def changed() -> bool:
        """Whether :meth:`load` may return other keys than the last time. May block briefly."""

    def load() -> Keys:
        """Loads all keys.

        May block for seconds: call it at start-up or in a worker thread, from one thread at a time. Keys that were
        returned earlier do not change, so the caller can keep them after an error.

        :raises KeySourceError: the content of the source cannot be used.
        :raises SourceUnavailable: the source does not answer now.
        """


def fingerprint(api_key: str) -> str:
    """Returns a short hash of an API key, which is safe to show. An operator can identify the key by it."""
    digest = hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"sha256:{digest[:8]}"


def merged(sources: Sequence[tuple[str, Keys]], routes: Collection[str] | None = None) -> tuple[Keys, list[str]]:
    """Merges the keys of several named sources. A key that is in two sources is taken from the first.

    :param routes: the paths of the configuration; None: any path may exist.
    :returns: the keys, and warnings for the log.
    """
    keys: dict[str, Key] = {}
    origins: dict[str, str] = {}
    warnings = []
    for name, loaded in sources:
        if not loaded:
            warnings.append(f"{name}: contains no keys")
        for api_key in loaded:
            if api_key in keys:
                where = f"{origins[api_key]} and in {name}"
                warnings.append(f"the API key {fingerprint(api_key)} is in {where}: the first is used")
            elif key := loaded.lookup(api_key):
                keys[api_key], origins[api_key] = key, name
                which = f"the API key {fingerprint(api_key)} in {name}"
                warnings += [*_short_secrets(which, key), *_unknown_routes(which, key, routes)]
    return Keys(keys), warnings


def _unknown_routes(which: str, key: Key, routes: Collection[str] | None) -> list[str]:
    if key.routes is None or routes is None:
        return []
    remedy = "which no [[route]] has: correct its routes or the [[route]]"
    return [f"{which} allows the path {path!r}, {remedy}" for path in sorted(key.routes.difference(routes))]


def _short_secrets(which: str, key: Key) -> list[str]:
    if all(len(secret) >= SHORT_SECRET for secret in key.secrets if secret != UNSIGNED):
        return []
    return [f"{which} has a secret of less than {SHORT_SECRET} bytes, which can be guessed: set a longer one"]
