"""Connections with sockets of their own, which ears read."""

import socket
from collections.abc import Callable

from twisted.internet.protocol import Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock

from audiohookd.websocket.fastpath.batch_reader import BatchReader, ReadHandle


class Listener(Protocol):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.heard = b""

    def dataReceived(self, data: bytes) -> None:
        self.heard += data


class Call:
    """A connection from a peer, which is at the other end of a pair of sockets."""

    def __init__(self, reactor: MemoryReactorClock, protocol: Listener | None = None) -> None:
        self.taken: list[bytes] = []
        self.texts: list[bytes] = []
        self.line: ReadHandle | None = None
        self.backlog = self.resumed = 0
        self.peer, ours = socket.socketpair()
        ours.setblocking(False)
        self.protocol = protocol or Listener()
        self.transport = Connection(ours, self.protocol, reactor)
        self.transport.connected = 1
        self.protocol.makeConnection(self.transport)
        self.transport.startReading()

    def resume(self) -> None:
        """Handles one octet of what was put off."""
        assert self.line is not None
        self.resumed += 1
        self.line.has_backlog = self.line.is_costly = self.resumed < self.backlog

    @property
    def heard(self) -> bytes:
        return self.protocol.heard

    def join(self, ears: BatchReader, is_bot: bool = False) -> "Call":
        """Is read by ``ears`` from now on."""
        self.line = ears.register(self.transport, self.taken.append, self.texts.append, self.resume, is_bot)
        assert self.line is not None
        return self

    def say(self, data: bytes, ears: BatchReader) -> None:
        """As its protocol would."""
        assert self.line is not None
        unsent = ears.write_now(self.line, data)
        if unsent:
            self.transport.write(unsent)


Connect = Callable[..., Call]
