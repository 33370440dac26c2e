"""Fuzzes the frame parsers: the C and the Python one must parse like Autobahn, wherever the stream is split.

The first byte is the number of splits. Two bytes for each position follow, then the stream after the upgrade.
"""

from collections.abc import Iterator

from audiohookd.websocket.fastpath.frames import (
    CUT_LIMIT,
    first_frame_length,
    is_partial_fast_frame,
    parse_binary_messages,
    parse_binary_messages_in_python,
)
from tests.websocket.listened import Fast, Listened, Stock, torn
from tests.websocket.websocket_rig import OPEN, binary, frame, text

_MOST_TEARS = 12


def check(data: bytes) -> None:
    """Raises an AssertionError if the parsers differ."""
    tears = data[0] % (_MOST_TEARS + 1) if data else 0
    places, stream = data[1 : 1 + 2 * tears], data[1 + 2 * tears :]
    pieces = torn(stream, [int.from_bytes(places[at : at + 2]) for at in range(0, len(places), 2)])
    _check_cut(stream)
    assert Listened(Fast).seen(pieces) == Listened(Stock).seen(pieces)


def seeds() -> Iterator[bytes]:
    """Frames of all kinds, whole and split."""
    streams = [
        binary(b"\xd5" * 320) * 3 + text(OPEN) + binary(b"\xd5" * 1600),
        binary(b"1") + frame(9, b"ping") + binary(b"2") + frame(8, b"\x03\xe8") + binary(b"3"),
        frame(2, b"1", fin=False) + frame(9) + frame(0, b"2") + text("ä".encode()) + text(b"\xff"),
        binary(b"1") + binary(b"close") + text(b"2"),
        binary(b"1") + binary(b"abort") + text(b"2"),
        binary(bytes(65_536))[:20] + binary(b""),
        b"\x82\xfe\x00\x05" + bytes(9),
        frame(2, b"unmasked", masked=False),
    ]
    for stream in streams:
        yield b"\0" + stream
        yield b"\x03\0\x01\0\x07\x01\x00" + stream


def _check_cut(stream: bytes) -> None:
    messages, at = parse_binary_messages(stream)
    assert (messages, at) == parse_binary_messages_in_python(stream)
    rest = stream[at:]
    assert first_frame_length(rest) <= len(rest)
    if len(messages) < CUT_LIMIT and is_partial_fast_frame(rest):
        assert parse_binary_messages(rest) == ([], 0)
