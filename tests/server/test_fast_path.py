"""Audio is cut out of the stream before Autobahn sees it: everything happens as if Autobahn had read it all."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.testing import StringTransport
from websocket_rig import OPEN, Server, binary, frame, request_head, text

from audiohookd.server.websocket import AudioHookServerProtocol


class Fast(AudioHookServerProtocol):
    """Notes what it is called with."""

    def connectionMade(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        super().connectionMade()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.calls.append(("message", payload, isBinary))
        if payload == b"close":
            self.sendClose(1000)
        elif payload == b"abort":
            self.abort()

    def onPing(self, payload: bytes) -> None:
        self.calls.append(("ping", payload))
        super().onPing(payload)

    def onPong(self, payload: bytes) -> None:
        self.calls.append(("pong", payload))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.calls.append(("close", wasClean, code, reason))
        super().onClose(wasClean, code, reason)


class Stock(Fast):
    """Autobahn alone, but for the request head."""

    def dataReceived(self, data: bytes) -> None:
        if self._guard is not None:
            self._look_at_head(self._guard, data)
        elif self.state in (self.STATE_OPEN, self.STATE_CLOSING):
            self._dataReceived(data)


class Listened:
    """A connection that is upgraded, and what can be seen of it from both sides."""

    def __init__(self, protocol: type[Fast]) -> None:
        server = Server()
        server.factory.protocol = protocol
        self.transport = StringTransport()
        self.protocol: Fast = server.factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        self.protocol.dataReceived(request_head())
        assert self.protocol.state == self.protocol.STATE_OPEN

    def seen(self, pieces: list[bytes]) -> tuple[Any, ...]:
        """After each piece: the calls so far, what was sent, and how the connection is."""
        seen = []
        for piece in pieces:
            if not self.transport.disconnected:
                self.protocol.dataReceived(piece)
            seen.append((len(self.protocol.calls), self.transport.value(), self.protocol.state))
        return seen, self.protocol.calls, self.transport.disconnecting, self.transport.disconnected


SIZES = st.integers(0, 300) | st.sampled_from([125, 126, 127, 3_200, 65_535, 65_536, 131_072, 131_073])
PAYLOADS = SIZES.map(lambda size: (b"\xd5\x55\x2a" * (size // 3 + 1))[:size])
FRAMES = st.one_of(
    PAYLOADS.map(binary),
    PAYLOADS.map(binary),
    st.sampled_from([binary(b"close"), binary(b"abort"), text(b"close"), text(OPEN), text(b"\xff")]),
    st.builds(frame, st.integers(0, 15), st.binary(max_size=130), fin=st.booleans(), masked=st.booleans()),
    st.binary(max_size=12),
)
STREAMS = st.lists(FRAMES, max_size=8).map(b"".join)


def torn(stream: bytes, places: list[int]) -> list[bytes]:
    ends = [*sorted({place % (len(stream) + 1) for place in places}), len(stream)]
    pieces = [stream[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return [piece for piece in pieces if piece]


@settings(deadline=None, max_examples=400)
@given(STREAMS, st.lists(st.integers(0, 500_000), max_size=12))
@example(binary(b"1") + binary(b"close") + binary(b"2") + frame(8) + binary(b"3"), [])
@example(binary(b"1") + binary(b"abort") + binary(b"2"), [])
@example(binary(b"abort") + text(b"2"), [])
@example(frame(2, b"1", fin=False) + frame(9) + frame(0, b"2") + binary(b"3"), [5, 11])
@example(b"\x82\xfe\x00\x05" + bytes(9), [1, 2, 3])
@example(text(b"\xff") + binary(b"after"), [])
def test_whatever_comes_and_wherever_it_is_torn(stream: bytes, places: list[int]) -> None:
    pieces = torn(stream, places)
    assert Listened(Fast).seen(pieces) == Listened(Stock).seen(pieces)


@pytest.mark.parametrize("size", [320, 1_600, 3_200])
@pytest.mark.parametrize(
    "between", [b"", frame(9, b"ping"), text(OPEN), frame(2, b"part", fin=False) + frame(0, b"end")], ids=len
)
@pytest.mark.parametrize("read", [7, 4_096])
def test_audio_never_bothers_autobahn_whatever_came_between(size: int, between: bytes, read: int) -> None:
    class Watched(Fast):
        def _dataReceived(self, data: bytes) -> None:
            assert self.state != self.STATE_OPEN or binary(b"\xd5" * size)[:9] not in self.data + data
            super()._dataReceived(data)

    audio = binary(b"\xd5" * size) * 20
    stream = audio + between + audio
    pieces = [stream[start : start + read] for start in range(0, len(stream), read)]
    _, calls, _, _ = Listened(Watched).seen(pieces)
    assert calls.count(("message", b"\xd5" * size, True)) == 40
