"""Finds the address of a client behind proxies: the peer of the connection is only the last proxy (pure)."""

import re
from collections.abc import Hashable
from ipaddress import IPv4Address, IPv6Address, ip_address

from msgspec import Struct

Address = IPv4Address | IPv6Address

#: An address as proxies write it: in brackets, with a port, or both. The name of an interface is dropped.
_written = re.compile(r"\[([0-9A-Fa-f:.]+)(?:%[^\]]*)?\](?::\d{1,5})?|([0-9.]+):\d{1,5}|([0-9A-Fa-f:.]+)(?:%.*)?")
_forwarded = re.compile(rb"^x-forwarded-for:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
#: An IPv6 subscriber gets a /64, so one client can use 2**64 addresses.
_SUBSCRIBER_BITS = 64


class ClientAddress(Struct, frozen=True):
    """The address of a client.

    :param address: None if it is unknown: the peer is a Unix socket, or its address cannot be parsed.
    :param is_fallback: the proxies did not name the client, so this is the address of the nearest proxy.
    """

    address: Address | None
    is_fallback: bool = False

    @property
    def name(self) -> str:
        """The address as text, for the log and for sidecars; ``unknown`` if there is none."""
        return "unknown" if self.address is None else str(self.address)

    @property
    def rate_limit_key(self) -> Hashable:
        """The key of the rate limit: an IPv4 address, an IPv6 /64, or None for all unknown addresses together."""
        if isinstance(self.address, IPv6Address):
            return int(self.address) >> _SUBSCRIBER_BITS
        return self.address


def client_address(peer: str | None, forwarded: str = "", hops: int = 0) -> ClientAddress:
    """Returns the address of the client.

    :param peer: the address of the connection's peer, or the source in its PROXY header; None if there is none.
    :param forwarded: all lines of ``X-Forwarded-For``, joined by commas. Each proxy appends the address of its own
        peer; the client can invent all entries to the left of those.
    :param hops: the number of trusted proxies in front of the daemon. With 0, ``forwarded`` is ignored.
    """
    direct = parse_address(peer or "")
    if not hops:
        return ClientAddress(direct)
    named = forwarded.rsplit(",", hops)
    address = parse_address(named[-hops].strip(" \t")) if len(named) >= hops else None
    return ClientAddress(direct, is_fallback=True) if address is None else ClientAddress(address)


def join_forwarded_for(head: bytes) -> str:
    """Returns all lines of ``X-Forwarded-For`` in a request head, in order, joined by commas."""
    return b",".join(_forwarded.findall(head.partition(b"\r\n\r\n")[0])).decode("latin-1")


def parse_address(text: str) -> Address | None:
    """Parses ``192.0.2.1``, ``192.0.2.1:443``, ``2001:db8::1`` or ``[2001:db8::1]:443``.

    Returns None if the text is not an address. An IPv4-mapped IPv6 address is returned as IPv4.
    """
    match = _written.fullmatch(text)
    try:
        address = ip_address(next(filter(None, match.groups()))) if match else None
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
