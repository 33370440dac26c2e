"""Parses the PROXY protocol header, versions 1 and 2, by which a proxy names the client of a connection (pure).

Follows HAProxy's ``proxy-protocol.txt``, strictly: a connection that begins with anything else is not from a proxy.
"""

import re
import struct
from ipaddress import IPv4Address, IPv6Address

from msgspec import Struct

from audiohookd.edge.client_address import Address

#: Longest header of version 1, in bytes, with CR LF.
MAX_V1 = 107
#: Longest header of version 2, in bytes: 232 with the longest addresses. HAProxy can be configured to add about 600.
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
#: Bytes after the fixed part: both addresses, then both ports.
_LENGTHS = {_INET: 12, _INET6: 36, _UNIX: 216}
_DATAGRAM = 2


class ProxyHeader(Struct, frozen=True):
    """A complete header.

    :param source: the address of the client. None: the proxy itself opened the connection (a health check), or the
        client's address is unknown or not an IP address.
    :param port: the port of the client; 0 without ``source``.
    :param rest: the bytes received after the header.
    """

    source: Address | None
    port: int
    rest: bytes


class ProxyHeaderReader:
    """Parses a header that arrives in pieces of any size. Buffers fewer than :data:`MAX_V2` bytes."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> ProxyHeader | None:
        """Parses the next piece. Returns None until the header is complete; then the reader must not be used again.

        :raises ValueError: there is no header, or it is malformed. The text is fixed and quotes no input.
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
        return ProxyHeader(*_parse_line(data[:end]), data[end + 2 :])
    if len(data) >= MAX_V1:
        raise _too_long()
    return None


def _parse_line(line: bytes) -> tuple[Address | None, int]:
    if line.split(b" ", 2)[1] == b"UNKNOWN":
        return None, 0  # the rest of the line is ignored
    kind: type[Address]
    for kind, pattern in ((IPv4Address, _v4), (IPv6Address, _v6)):
        match = pattern.fullmatch(line)
        if match is not None:
            return _checked_source(kind, *match.groups())
    raise _bad()


def _checked_source(
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
    return ProxyHeader(*_parse_block(family, data[_fixed.size : end]), data[end:])


def _parse_block(kind: int, block: bytes) -> tuple[Address | None, int]:
    """Returns address and port of the client. Ignores the TLV fields after the addresses."""
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
