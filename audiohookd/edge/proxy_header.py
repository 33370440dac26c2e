"""The header that a proxy puts before a connection to say whose it is: the PROXY protocol, versions 1 and 2 (pure).

After HAProxy's ``proxy-protocol.txt``, and strict: what is no such header does not come from a proxy.
"""

import re
import struct
from ipaddress import IPv4Address, IPv6Address

from msgspec import Struct

from audiohookd.edge.client_address import Address

#: Bytes of version 1, CR LF included: no line can need more.
MAX_V1 = 107
#: Bytes of version 2: 232 with the longest addresses, and what HAProxy can be told to add is about 600 more.
MAX_V2 = 2_048

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_port = rb"(0|[1-9][0-9]{0,4})"
_v4 = re.compile(rb"PROXY TCP4 ([0-9.]+) ([0-9.]+) %b %b" % (_port, _port))
_v6 = re.compile(rb"PROXY TCP6 ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) %b %b" % (_port, _port))
_MAX_PORT = 65_535

_fixed = struct.Struct("!12sBBH")  # signature, version and command, family and transport, length of the rest
_VERSION, _LOCAL, _PROXY = 2, 0, 1
_INET, _INET6, _UNIX = 1, 2, 3
#: What comes after it: both addresses, then both ports.
_LENGTHS = {_INET: 12, _INET6: 36, _UNIX: 216}
_DATAGRAM = 2


class ProxyHeader(Struct, frozen=True):
    """A whole header.

    :param source: whose connection it is. None: that of the peer itself, as health checks are, or of somebody whose
        address the peer does not know, or who has none in a network.
    :param rest: what came after it.
    """

    source: Address | None
    port: int
    rest: bytes


class ProxyHeaderReader:
    """Reads a header in pieces of any size. Less than :data:`MAX_V2` bytes wait in it."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> ProxyHeader | None:
        """The next piece. None while the header is not whole; after anything else the reader is of no more use.

        :raises ValueError: there is no header, or one that is not to be trusted. Its text is one of a few, and quotes
            nothing.
        """
        self._data += data
        if self._data.startswith(_V1):
            return _read_line(self._data)
        if self._data.startswith(_V2):
            return _read_block(self._data)
        if _V1.startswith(self._data) or _V2.startswith(self._data):
            return None
        raise ValueError("no PROXY header")


def _read_line(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, MAX_V1)
    if end >= 0:
        return ProxyHeader(*_named_by_line(data[:end]), data[end + 2 :])
    if len(data) >= MAX_V1:
        raise _too_long()
    return None


def _named_by_line(line: bytes) -> tuple[Address | None, int]:
    if line.split(b" ", 2)[1] == b"UNKNOWN":
        return None, 0  # whatever more it says
    kind: type[Address]
    for kind, pattern in ((IPv4Address, _v4), (IPv6Address, _v6)):
        match = pattern.fullmatch(line)
        if match is not None:
            return _checked(kind, *match.groups())
    raise _bad()


def _checked(
    kind: type[Address], source: bytes, destination: bytes, port: bytes, other_port: bytes
) -> tuple[Address, int]:
    try:
        found, _ = kind(source.decode("ascii")), kind(destination.decode("ascii"))
    except ValueError:
        raise _bad() from None
    if max(int(port), int(other_port)) > _MAX_PORT:
        raise _bad()
    return found, int(port)


def _read_block(data: bytes) -> ProxyHeader | None:
    if len(data) < _fixed.size:
        return None
    _, version, family, length = _fixed.unpack_from(data)
    version, command = divmod(version, 16)
    if version != _VERSION or command not in (_LOCAL, _PROXY):
        raise _bad()
    end = _fixed.size + length
    if end > MAX_V2:
        raise _too_long()
    if len(data) < end:
        return None
    if command == _LOCAL:
        return ProxyHeader(None, 0, data[end:])
    return ProxyHeader(*_named_by_block(family, data[_fixed.size : end]), data[end:])


def _named_by_block(kind: int, block: bytes) -> tuple[Address | None, int]:
    """What comes after the addresses, of whatever type, is not looked at."""
    family, transport = divmod(kind, 16)
    if family > _UNIX or transport > _DATAGRAM:
        raise _bad()
    if not family or not transport:
        return None, 0  # not specified
    if len(block) < _LENGTHS[family]:
        raise _bad()
    if family == _UNIX:
        return None, 0
    if family == _INET:
        source, port = struct.unpack_from("!4s4xH", block)
        return IPv4Address(source), port
    source, port = struct.unpack_from("!16s16xH", block)
    return IPv6Address(source), port


def _bad() -> ValueError:
    return ValueError("bad PROXY header")


def _too_long() -> ValueError:
    return ValueError("PROXY header too long")
