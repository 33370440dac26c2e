"""Where a request really came from: behind proxies, the peer of the connection is only the last of them (pure)."""

import re
from collections.abc import Hashable
from ipaddress import IPv4Address, IPv6Address, ip_address

from msgspec import Struct

Address = IPv4Address | IPv6Address

#: As proxies write it: in brackets, with the port, or both. The name of an interface is nobody's business.
_written = re.compile(r"\[([0-9A-Fa-f:.]+)(?:%[^\]]*)?\](?::\d{1,5})?|([0-9.]+):\d{1,5}|([0-9A-Fa-f:.]+)(?:%.*)?")
_forwarded = re.compile(rb"^x-forwarded-for:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
#: What one subscriber has of IPv6: who has one address there has these 2**64.
_SUBSCRIBER_BITS = 64


class ClientAddress(Struct, frozen=True):
    """Who asks.

    :param address: None where none can be told: a socket of the file system, a proxy that talks nonsense.
    :param is_guess: the proxies were to name the client, and did not: this is the last of them.
    """

    address: Address | None
    is_fallback: bool = False

    @property
    def name(self) -> str:
        """For the log and for sidecars."""
        return "unknown" if self.address is None else str(self.address)

    @property
    def rate_limit_key(self) -> Hashable:
        """What is counted as one: an address of IPv4, a /64 of IPv6, and all that cannot be told."""
        if isinstance(self.address, IPv6Address):
            return int(self.address) >> _SUBSCRIBER_BITS
        return self.address


def client_address(peer: str | None, forwarded: str = "", hops: int = 0) -> ClientAddress:
    """Who asks, when the ``hops`` proxies nearest to us are to be believed.

    :param peer: the address at the other end of the connection, or of the PROXY header; None when it has none.
    :param forwarded: all lines of ``X-Forwarded-For``, joined by commas: each proxy appends whom it was asked by, and
        whatever is further to the left was the client's own invention.
    """
    direct = parse_address(peer or "")
    if not hops:
        return ClientAddress(direct)
    named = forwarded.rsplit(",", hops)
    address = parse_address(named[-hops].strip(" \t")) if len(named) >= hops else None
    return ClientAddress(direct, is_fallback=True) if address is None else ClientAddress(address)


def join_forwarded_for(head: bytes) -> str:
    """All lines of ``X-Forwarded-For`` of a request head, in their order, joined by commas."""
    return b",".join(_forwarded.findall(head.partition(b"\r\n\r\n")[0])).decode("latin-1")


def parse_address(text: str) -> Address | None:
    """The address in ``192.0.2.1``, ``192.0.2.1:443``, ``2001:db8::1`` or ``[2001:db8::1]:443``.

    None when it is none. One of IPv4 that is written as one of IPv6 is one of IPv4.
    """
    match = _written.fullmatch(text)
    try:
        address = ip_address(next(filter(None, match.groups()))) if match else None
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
