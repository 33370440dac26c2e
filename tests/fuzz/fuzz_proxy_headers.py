"""Fuzzes the PROXY header: the reader accepts a well-formed header or closes the connection.

The bytes are sent after TCP connect.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from audiohookd.edge.proxy_header import MAX_V1, MAX_V2, ProxyHeader
from tests.proxy_headers import LOCAL, PROXY, SIGNATURE, UNIX, UNSPECIFIED, outcome, v1, v2, v2_of

_SAID = {"no PROXY header", "bad PROXY header", "PROXY header too long"}
_ADDRESSES = (IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1"))


def check(data: bytes) -> None:
    """Raises an AssertionError, or any exception that the reader must not raise."""
    found, used = outcome([data])
    in_pieces, fed = outcome([data[at : at + 1] for at in range(len(data))])
    if isinstance(found, ProxyHeader):
        assert isinstance(in_pieces, ProxyHeader)
        assert (in_pieces.source, in_pieces.port, in_pieces.rest) == (found.source, found.port, b"")
        assert data[fed:] == found.rest
        assert fed <= (MAX_V2 if data.startswith(SIGNATURE) else MAX_V1)
        _check_source(data[:fed], found)
    else:
        assert in_pieces == found
        assert found in _SAID or (found is None and used < MAX_V2)


def seeds() -> Iterator[bytes]:
    """A header of each kind."""
    for address in _ADDRESSES:
        yield v1(address) + b"GET"
        yield v2(address, extra=b"\x04\x00\x01a") + b"GET"
    yield b"PROXY UNKNOWN\r\n"
    yield b"PROXY UNKNOWN ::1 ::1 1 2\r\n"
    yield v2_of(LOCAL, UNSPECIFIED)
    yield v2_of(PROXY, UNIX, bytes(216))


def _check_source(header: bytes, found: ProxyHeader) -> None:
    """Checks that the parsed address is exactly the one in the header."""
    assert 0 <= found.port <= 65_535
    if found.source is None:
        assert found.port == 0
    elif header.startswith(SIGNATURE):
        assert header[16:].startswith(found.source.packed)
    else:
        written = header.split(b" ")[2].decode()
        assert type(found.source)(written) == found.source
