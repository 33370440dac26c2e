"""PROXY headers, as a proxy writes them, and what becomes of them."""

import struct
from ipaddress import IPv4Address, IPv6Address

from audiohookd.edge.proxy_header import ProxyHeader, ProxyHeaderReader

Address = IPv4Address | IPv6Address

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LOCAL, PROXY = 0, 1
UNSPECIFIED, TCP4, UDP4, TCP6, UNIX = 0x00, 0x11, 0x12, 0x21, 0x31
OURS = {4: IPv4Address("127.0.0.1"), 6: IPv6Address("::1")}


def v1(source: Address, port: int = 40_000) -> bytes:
    """Version 1."""
    return f"PROXY TCP{source.version} {source} {OURS[source.version]} {port} 443\r\n".encode()


def v2(source: Address, port: int = 40_000, extra: bytes = b"") -> bytes:
    """Version 2; ``extra`` are what it calls TLVs."""
    block = source.packed + OURS[source.version].packed + struct.pack("!HH", port, 443)  # type: ignore[attr-defined]
    return v2_of(PROXY, TCP4 if source.version == 4 else TCP6, block + extra)


def v2_of(command: int, family: int, block: bytes = b"") -> bytes:
    """Version 2 of anything."""
    return SIGNATURE + struct.pack("!BBH", 0x20 | command, family, len(block)) + block


def outcome(pieces: list[bytes]) -> tuple[ProxyHeader | str | None, int]:
    """What a reader makes of the pieces, and how many bytes it took."""
    reader, fed = ProxyHeaderReader(), 0
    for piece in pieces:
        fed += len(piece)
        try:
            found = reader.feed(piece)
        except ValueError as fault:
            return str(fault), fed
        if found is not None:
            return found, fed
    return None, fed
