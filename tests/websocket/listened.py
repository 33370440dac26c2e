"""Records all visible effects of a connection after its upgrade: the daemon's protocol and plain Autobahn."""

from typing import Any

from twisted.internet.testing import StringTransport

from audiohookd.websocket.protocol import AudioHookServerProtocol
from tests.websocket.websocket_rig import Server, request_head


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
    """Plain Autobahn, except for the request head."""

    def dataReceived(self, data: bytes) -> None:
        if self._head_validator is not None:
            self._read_head(self._head_validator, data)
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
        """The calls, the sent bytes and the state of the connection after each piece."""
        seen = []
        for piece in pieces:
            if not self.transport.disconnected:
                self.protocol.dataReceived(piece)
            seen.append((len(self.protocol.calls), self.transport.value(), self.protocol.state))
        return seen, self.protocol.calls, self.transport.disconnecting, self.transport.disconnected


def torn(stream: bytes, places: list[int]) -> list[bytes]:
    """The stream in pieces, which end at these places or are what is left."""
    ends = [*sorted({place % (len(stream) + 1) for place in places}), len(stream)]
    pieces = [stream[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return [piece for piece in pieces if piece]
