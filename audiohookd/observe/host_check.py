"""Checks Host and Origin of requests to the admin port, against DNS rebinding (pure).

In DNS rebinding, a web page makes its own name resolve to 127.0.0.1, and the browser lets it read the answers. Such a
request has the name of the page as its Host. IP addresses in Host are accepted: a page with an address as its origin
was served from that address.
"""

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final, NamedTuple

#: Characters of a foreign value that are quoted.
MAX_QUOTED: Final = 100
LAST_PORT: Final = 65_535

#: RFC 9110, section 7.2: an address in brackets, or a name or IPv4 address; and a port.
_host = re.compile(
    r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.~%-]+)?)\]|([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\.?)(?::([0-9]{0,5}))?", re.ASCII
)
_origin = re.compile(r"(https?)://([^/?#]+)", re.ASCII)
_default_port: Final = {"http": ":80", "https": ":443"}


class HostFault(NamedTuple):
    """Why a request is rejected. ``text`` is one line of printable ASCII, without a line break."""

    status: int
    text: str


class HostCheck:
    """Rejects requests that a browser may have been misled to send.

    :param allowed: names of the port, in addition to loopback names and all IP addresses. One with a leading dot
        stands for all names below it.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        names = [name.lower() for name in allowed]
        self._names = frozenset({"localhost", *(name for name in names if not name.startswith("."))})
        self._suffixes = (".localhost", *(name for name in names if name.startswith(".")))

    def fault(self, version: bytes, hosts: Sequence[bytes], origins: Sequence[bytes]) -> HostFault | None:
        """None for a request that is to be answered.

        :param version: such as ``HTTP/1.1``. An older request needs no Host: health checks (HAProxy's ``option
            httpchk``) send none, and browsers always do.
        :param hosts: the values of all Host headers; ``origins`` likewise.
        """
        if len(hosts) > 1 or (not hosts and version != b"HTTP/1.0"):
            return HostFault(HTTPStatus.BAD_REQUEST, f"bad request: {len(hosts)} Host headers, one is needed")
        hosts = hosts or [b""]
        host = hosts[0].decode("latin-1")
        if host and (fault := self._host_fault(host)):
            return fault
        for origin in origins:
            if not _is_same(origin.decode("latin-1"), host):
                text = f"forbidden: cross-origin request: Origin is {_quoted(origin)}, Host is {_quoted(hosts[0])}"
                return HostFault(HTTPStatus.FORBIDDEN, text)
        return None

    def _host_fault(self, host: str) -> HostFault | None:
        found = _host.fullmatch(host)
        quoted = _quoted(host.encode("latin-1"))
        if found is None or int(found[3] or 0) > LAST_PORT or (found[1] and not _is_address(found[1])):
            return HostFault(HTTPStatus.BAD_REQUEST, f"bad request: the Host header {quoted} is no host and port")
        name = (found[2] or "").lower()
        if found[1] or _is_address(name) or name in self._names or name.endswith(self._suffixes):
            return None
        text = f"misdirected request: Host is {quoted}, which is no known name of the admin port"
        remedy = "if it is one, add it to allowed_hosts in [admin] of the configuration"
        return HostFault(HTTPStatus.MISDIRECTED_REQUEST, f"{text}; {remedy}")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_same(origin: str, host: str) -> bool:
    found = _origin.fullmatch(origin)
    if found is None or not host:
        return False
    port = _default_port[found[1]]
    return found[2].lower().removesuffix(port) == host.lower().removesuffix(port)


def _quoted(value: bytes) -> str:
    cut = "..." if len(value) > MAX_QUOTED else ""
    return ascii(value[:MAX_QUOTED].decode("latin-1")) + cut
