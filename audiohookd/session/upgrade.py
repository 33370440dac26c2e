"""The upgrade request of a session (protocol section 1.2)."""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from audiohookd.session.quotas import Owner

#: Headers that may be shown and stored. An allow list, because unknown headers may hold secrets.
_SHOWN = frozenset(
    {
        "host",
        "user-agent",
        "audiohook-organization-id",
        "audiohook-session-id",
        "audiohook-correlation-id",
        "audiohook-retry-attempt",
        "x-forwarded-for",
        "x-forwarded-proto",
    }
)


class UpgradeInfo(Struct, frozen=True):
    """An upgrade request that is not authenticated yet.

    ``headers`` has all headers, with names in lower case. They contain secrets: only the authenticator may read them.
    """

    target: str
    headers: Mapping[str, str]
    peer: str
    session_id: str
    organization_id: str
    correlation_id: str

    def __repr__(self) -> str:
        return f"Upgrade(session_id={self.session_id!r}, peer={self.peer!r})"

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def owner(self) -> Owner:
        """The owner of the session. Valid only if the request is authenticated."""
        return Owner(self.organization_id.lower(), self.headers.get("x-api-key", "").strip(" \t"))

    def shown(self) -> Mapping[str, object]:
        """A read-only mapping for plugins and sidecars: ``uri``, ``peer``, and ``headers`` without secrets."""
        headers = {name: _text(value) for name, value in self.headers.items() if name in _SHOWN}
        return MappingProxyType({"uri": self.target, "peer": self.peer, "headers": MappingProxyType(headers)})


def _text(value: str) -> str:
    """Decodes a header value with one character per octet as UTF-8, or else as ISO 8859-1."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
