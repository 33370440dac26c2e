"""What an endpoint in Twisted's notation listens on, to compare two of them before a port opens (pure)."""

import posixpath
import re
from contextlib import suppress
from ipaddress import ip_address
from typing import Final, NamedTuple

#: Not a colon that belongs to an address: ``tcp6:3000:interface=\\:\\:1``.
_between = re.compile(r"(?<!\\):")
#: The parameters of each type, in the order in which they may stand without their names.
_PARAMETERS: Final = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "ssl": ("port", "privateKey", "certKey", "sslmethod", "interface", "backlog"),
    "unix": ("address", "mode", "backlog"),
    "systemd": ("domain", "index"),
}
_WILDCARDS: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared, not bound
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})


class ListenAddress(NamedTuple):
    """``kind`` is tcp, unix or systemd; ``place`` a port, path, or index or name; ``host`` is empty for all."""

    kind: str
    place: str
    host: str = ""

    def overlaps(self, other: "ListenAddress") -> bool:
        """Whether the second of the two could not be listened on: its address is in use."""
        if (self.kind, self.place) != (other.kind, other.place) or self.place in ("", "0"):
            return False
        mine, others = _addresses(self.host), _addresses(other.host)
        return bool(mine & others or mine & _WILDCARDS or others & _WILDCARDS)


def listen_address(description: str) -> ListenAddress | None:
    """None for a type of endpoint that is not known here.

    :param description: in Twisted's notation, with or without ``haproxy:``.
    """
    bare = re.sub("^haproxy:", "", description, flags=re.IGNORECASE)
    kind, *rest = (part.replace("\\:", ":") for part in _between.split(bare))
    if kind not in _PARAMETERS:
        return None
    given = dict(part.split("=", 1) for part in rest if "=" in part)
    given = dict(zip(_PARAMETERS[kind], (part for part in rest if "=" not in part), strict=False)) | given
    if kind == "unix":
        return ListenAddress(kind, posixpath.normpath(given.get("address", "")))
    if kind == "systemd":
        return ListenAddress(kind, f"index={given['index']}" if "index" in given else f"name={given.get('name', '')}")
    port = given.get("port", "")
    return ListenAddress("tcp", str(int(port)) if port.isdecimal() else port, given.get("interface", ""))


def _addresses(host: str) -> frozenset[str]:
    """As they are written canonically."""
    if host.lower() == "localhost":
        return _LOOPBACK
    with suppress(ValueError):
        return frozenset({str(ip_address(host))})
    return frozenset({host.lower()})
