"""What the upgrade request says about a session (protocol section 1.2)."""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from audiohookd.session.quotas import Owner

#: Headers that may be shown and kept. A list of what is safe, for nobody knows what is not.
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
    """A request to open a session, not authenticated yet.

    ``headers`` are all of them, names in lower case: they hold secrets and go nowhere but to the authenticator.
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
        """Who has to answer for the session, if the request is authentic."""
        return Owner(self.organization_id.lower(), self.headers.get("x-api-key", "").strip(" \t"))

    def shown(self) -> Mapping[str, object]:
        """What plugins and sidecars may see, read-only: ``uri``, ``peer``, and ``headers`` without secrets."""
        headers = {name: _text(value) for name, value in self.headers.items() if name in _SHOWN}
        return MappingProxyType({"uri": self.target, "peer": self.peer, "headers": MappingProxyType(headers)})


def _text(value: str) -> str:
    """A header value, one character for each octet, as text: UTF-8, or ISO 8859-1 where it is not that."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value
