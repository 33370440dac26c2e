"""API keys, what each may do, and the contract of the places that they come from."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from zope.interface import Attribute, Interface

#: As the secret of a key: its requests come unsigned.
UNSIGNED = b""
#: Bytes. A shorter secret works, and its owner is told: who has read one request can try them all until one signs it.
SHORT_SECRET = 16
#: Of a key at a time: while the one is replaced by the other. As many more may be of the version before.
MAX_SECRETS = 2


class KeySourceError(ValueError):
    """A source whose keys cannot be used. Its text is one line for the user, with what to do.

    It never contains a secret, a piece of one, or an API key: unsigned, that is a password.
    """


class SourceUnavailable(KeySourceError):
    """A source that does not answer, or not now: nothing is wrong with what was configured, as far as we know."""


@dataclass(frozen=True, slots=True)
class Key:
    """What belongs to an API key. Its representation shows no secret.

    :param secrets: any of them verifies, and ``UNSIGNED`` among them lets in who does not sign. One or two.
    :param organizations: who may use it, in lower case; None: everybody.
    :param routes: the paths that it opens; None: all.
    :param not_after: UNIX seconds; from then on it lets nobody in.
    :param previous: further secrets, until the UNIX time ``previous_until``.
    """

    secrets: tuple[bytes, ...] = field(repr=False)
    organizations: frozenset[str] | None = None
    routes: frozenset[str] | None = None
    not_after: float | None = None
    previous: tuple[bytes, ...] = field(default=(), repr=False)
    previous_until: float = 0.0

    def __post_init__(self) -> None:
        # None: one could take a key that nobody can use for one that everybody can. More: see signature.verify_any.
        if not 1 <= len(self.secrets) <= MAX_SECRETS or len(self.previous) > MAX_SECRETS:
            raise ValueError(f"a key has 1 to {MAX_SECRETS} secrets, and one without a secret has UNSIGNED")

    def secrets_at(self, now: float) -> tuple[bytes, ...]:
        """Those that count at the UNIX time ``now``, each once."""
        valid = self.secrets + (self.previous if now < self.previous_until else ())
        return tuple(dict.fromkeys(valid))


class IKeys(Protocol):
    """What tells of an API key. At once: it is asked in the reactor thread."""

    def lookup(self, api_key: str) -> Key | None:
        """None for an unknown key."""


class Keys:
    """API keys, and what belongs to them; does not change. Its representation shows neither."""

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
    """Where API keys and secrets come from."""

    name = Attribute("Where it stands in the configuration, such as ``auth.keys_file``.")
    interval = Attribute("Seconds from one look at it to the next; None: what it holds stays as it is.")

    def changed() -> bool:
        """Whether :meth:`load` may give anything else than the last time. May block, but not for long."""

    def load() -> Keys:
        """Fetches all keys anew.

        May block, for seconds: to be called at start-up or in a worker thread, by one thread at a time. Keys returned
        earlier stay as they are, and after an error the caller still has them.

        :raises KeySourceError: what the source holds cannot be used.
        :raises SourceUnavailable: it cannot be asked now.
        """


def fingerprint(api_key: str) -> str:
    """An API key as it may be shown: enough to find it among those that one has, and not to guess it."""
    digest = hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"sha256:{digest[:8]}"


def merged(sources: Sequence[tuple[str, Keys]], routes: Collection[str] | None = None) -> tuple[Keys, list[str]]:
    """The keys of several named sources as one, and what there is to say about it.

    A key that stands in two of them is that of the first.

    :param routes: the paths that there are; None: any may be.
    """
    keys: dict[str, Key] = {}
    origins: dict[str, str] = {}
    remarks = []
    for name, one in sources:
        if not one:
            remarks.append(f"{name}: there are no keys in it")
        for api_key in one:
            if api_key in keys:
                where = f"{origins[api_key]} and in {name}"
                remarks.append(f"the API key {fingerprint(api_key)} stands in {where}: the first counts")
            elif key := one.lookup(api_key):
                keys[api_key], origins[api_key] = key, name
                which = f"the API key {fingerprint(api_key)} in {name}"
                remarks += [*_short_secrets(which, key), *_dead_ends(which, key, routes)]
    return Keys(keys), remarks


def _dead_ends(which: str, key: Key, routes: Collection[str] | None) -> list[str]:
    if key.routes is None or routes is None:
        return []
    what = "for which there is no [[route]]: correct the one or the other"
    return [f"{which} is for {path!r}, {what}" for path in sorted(key.routes.difference(routes))]


def _short_secrets(which: str, key: Key) -> list[str]:
    if all(len(secret) >= SHORT_SECRET for secret in key.secrets if secret != UNSIGNED):
        return []
    return [f"{which} has a secret of less than {SHORT_SECRET} bytes, which can be guessed: give it a longer one"]
