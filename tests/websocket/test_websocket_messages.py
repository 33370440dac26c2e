"""Messages on top of Autobahn: cut, fragmented, too large, malformed."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogEvent, formatEvent

from audiohookd.protocol.codec import MAX_RECEIVED
from tests.websocket.websocket_rig import OPEN, Server, binary, frame, open_peer, text


def test_audio_and_text_reach_the_session() -> None:
    server = Server()
    peer = server.connect().opened()
    peer.send(binary(b"\xff" * 3_200) + binary(b"\x7f" * 320))
    assert server.sink.arguments("audio") == [b"\xff" * 3_200, b"\x7f" * 320]


@given(st.lists(st.integers(1, 400), min_size=1, max_size=30))
def test_messages_may_be_cut_anywhere(sizes: list[int]) -> None:
    server = Server()
    peer = server.connect().upgrade()
    data = text(OPEN) + binary(b"\xff" * 320) + binary(b"\x7f" * 3_200)
    for size in [*sizes, len(data)]:
        piece, data = data[:size], data[size:]
        peer.send(piece)
    assert [opcode for opcode, _ in peer.frames()] == [1]
    assert server.sink.arguments("audio") == [b"\xff" * 320, b"\x7f" * 3_200]


def test_messages_may_come_byte_by_byte() -> None:
    server = Server()
    peer = server.connect().upgrade()
    for octet in text(OPEN) + binary(b"\xff" * 320):
        peer.send(bytes([octet]))
    assert server.sink.arguments("audio") == [b"\xff" * 320]


def test_messages_may_come_in_fragments_with_a_ping_between() -> None:
    server = Server()
    peer = server.connect().opened()
    peer.send(frame(2, b"\xff" * 100, fin=False) + frame(9, b"hello") + frame(0, b"\x7f" * 100))
    assert server.sink.arguments("audio") == [b"\xff" * 100 + b"\x7f" * 100]
    assert peer.frames() == [(10, b"hello")]


def test_a_message_slightly_too_large_is_answered_in_the_session() -> None:
    peer = open_peer()
    peer.send(binary(b"\xff" * (MAX_RECEIVED + 2)))
    ((_, message),) = peer.frames()
    assert b'"reason":"error","info":"message too large"' in message
    assert not peer.is_closed


@pytest.mark.parametrize("size", [2 * MAX_RECEIVED + 1, 10 * MAX_RECEIVED])
def test_a_message_far_too_large_is_answered_with_1009(size: int, logged: list[LogEvent]) -> None:
    server = Server()
    peer = server.connect().opened()
    peer.send(binary(b"\xff" * size))
    ((opcode, payload),) = peer.frames()
    assert (opcode, payload[:2]) == (8, struct.pack("!H", 1009))
    assert server.sink.arguments("audio") == []
    assert server.counters.value("protocol_errors") == 1
    assert sum("broke the protocol: WebSocket closed with 1009" in formatEvent(event) for event in logged) == 1


def test_a_message_far_too_large_in_fragments() -> None:
    server = Server()
    peer = server.connect().opened()
    peer.send(frame(2, b"\xff" * 60_000, fin=False))
    for _ in range(3):
        peer.send(frame(0, b"\xff" * 60_000, fin=False))
    assert [(opcode, payload[:2]) for opcode, payload in peer.frames()] == [(8, struct.pack("!H", 1009))]
    assert server.counters.value("protocol_errors") == 1


def test_an_unmasked_frame_is_answered_with_1002() -> None:
    peer = open_peer()
    peer.send(frame(1, b"{}", masked=False))
    ((opcode, payload),) = peer.frames()
    assert (opcode, payload[:2]) == (8, struct.pack("!H", 1002))


def test_repeated_websocket_errors_of_a_client_are_counted_once() -> None:
    server = Server()
    peer = server.connect().opened()
    for _ in range(3):
        peer.send(frame(1, b"{}", masked=False))
    assert server.counters.value("protocol_errors") == 1


def test_text_that_is_not_utf_8_is_answered_with_1007() -> None:
    peer = open_peer()
    peer.send(text(b'{"version":"\xff"}'))
    ((opcode, payload),) = peer.frames()
    assert (opcode, payload[:2]) == (8, struct.pack("!H", 1007))


def test_a_message_that_breaks_us_ends_this_session_alone(logged: list[LogEvent]) -> None:
    server = Server()
    peer = server.connect().opened()
    peer.protocol._connection._fanout = None  # stands for a fault that we do not know
    peer.send(binary(b"\xff" * 320))
    ((_, message),) = peer.frames()
    assert b'"reason":"error","info":"internal error"' in message
    assert b"NoneType" not in message
    assert any("a message could not be handled" in formatEvent(event) for event in logged)
    assert server.counters.value("internal_errors") == 1
    peer.lose()
    assert server.clock.getDelayedCalls() == []
