"""One call on a socket of its own: what it hears is judged by the protocol's client. Its audio is ``speech``'s."""

import os
import socket
import struct
from typing import Protocol

from audiohookd.protocol import events
from audiohookd.protocol.client.events import Accepted, Disconnected
from audiohookd.protocol.client.session import ClientSession
from bench.generator.upgrade import Upgrade
from bench.generator.wire import CLOSE, TEXT, ServerFrames, client_frame

_NORMAL_CLOSURE = struct.pack("!H", 1000)
_READ = 65_536


class Owner(Protocol):
    """Who has many of them."""

    def clock(self) -> float:
        """Seconds, from any origin."""

    def opened(self, leg: "Call", seconds: float) -> None:
        """So long after its ``open``, ``opened`` came: audio is welcome."""

    def answered(self, leg: "Call", seconds: float) -> None:
        """So long after its ``ping``, the ``pong`` came."""

    def watch(self, leg: "Call") -> None:
        """Its socket is to be watched for reading; for writing, too, while it is clogged. Told when that changes."""

    def ended(self, leg: "Call") -> None:
        """No audio is welcome any more; told at least once, and before the number of its socket is another one's."""


class Call:
    """Connects at once. Not blocking; ``readable`` and ``writable`` are to be called when the socket is.

    :param number: among those of its owner.
    """

    def __init__(
        self, address: tuple[str, int], session: ClientSession, upgrade: Upgrade, number: int, owner: Owner
    ) -> None:
        self.number = number
        #: Audio is welcome.
        self.is_open = False
        #: The server said ``closed``.
        self.is_closed = False
        #: There is no connection any more.
        self.is_gone = False
        #: What went wrong first.
        self.failure: str | None = None
        #: How often the socket did not take everything.
        self.refusals = 0
        self._session = session
        self._upgrade = upgrade
        self._owner = owner
        self._asked = 0.0
        self._told = 0  # samples
        self._is_leaving = False  # the WebSocket's own close was sent
        self._head: bytes | None = b""
        self._frames = ServerFrames()
        self._unsent = upgrade.head
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.connect_ex(address)
        owner.watch(self)

    @property
    def id(self) -> str:
        """Of the session."""
        return self._session.id

    @property
    def is_clogged(self) -> bool:
        """Something waits for its socket."""
        return bool(self._unsent)

    def fileno(self) -> int:
        """Of the socket."""
        return self._socket.fileno()

    # ---- what it says ----------------------------------------------------------------------------

    def finish(self, frame: bytes, taken: int) -> None:
        """The socket took so many bytes of ``frame``; or there was a fault, whose number it is, negative."""
        if taken < 0:
            self.drop(f"connection lost: {os.strerror(-taken)}")
        else:
            self._keep(frame[taken:])

    def ping(self, samples: int) -> None:
        """A ``ping``, unless one is under way. ``samples`` per channel is where the call has got to."""
        self._catch_up(samples)
        if self._session.ping():
            self._flush()

    def close(self, samples: int) -> None:
        """The polite end."""
        self._catch_up(samples)
        self._end()
        self._session.close()
        self._flush()

    def drop(self, why: str) -> None:
        """The end of everything; harmless after that."""
        if not self.is_gone:
            self.is_gone = True
            self._end()
            self._socket.close()
            if not self.is_closed:
                self._fail(why)

    def writable(self) -> None:
        """The socket takes something again."""
        unsent, self._unsent = self._unsent, b""
        self._send(unsent)
        if not self._unsent and not self.is_gone:
            self._owner.watch(self)

    def _catch_up(self, samples: int) -> None:
        self._session.advance(samples - self._told)
        self._told = samples

    def _flush(self) -> None:
        for text in self._session.take_outgoing():
            self._send(client_frame(TEXT, text, os.urandom(4)))

    def _send(self, data: bytes) -> None:
        try:
            taken = 0 if self._unsent else self._socket.send(data)
        except BlockingIOError:
            taken = 0
        except OSError as fault:
            self.drop(f"connection lost: {fault.strerror}")
            return
        if taken < len(data):
            self._keep(data[taken:])

    def _keep(self, data: bytes) -> None:
        """Until the socket takes something again."""
        was_free = not self._unsent
        self._unsent += data
        if was_free:
            self.refusals += 1
            self._owner.watch(self)

    # ---- what it hears ---------------------------------------------------------------------------

    def readable(self) -> None:
        """The socket has something."""
        try:
            data = self._socket.recv(_READ)
        except BlockingIOError:
            return
        except OSError as fault:
            self.drop(f"connection lost: {fault.strerror}")
            return
        if not data:
            self.drop("connection closed by the server")
        elif self._head is not None:
            self._answer(self._head + data)
        else:
            self._listen(data)

    def _answer(self, data: bytes) -> None:
        head, end, rest = data.partition(b"\r\n\r\n")
        self._head = head
        if not end:
            return
        if not self._upgrade.is_granted(head):
            status = head.partition(b"\r\n")[0].decode("latin-1")
            self.drop(f"no upgrade: {status}")
            return
        self._head = None
        self._asked = self._owner.clock()
        self._session.start()
        self._flush()
        self._listen(rest)

    def _listen(self, data: bytes) -> None:
        try:
            for opcode, payload in self._frames.feed(data):
                self._hear(opcode, payload)
        except ValueError as fault:
            self.drop(f"WebSocket: {fault}")

    def _hear(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self._session.receive_text(payload)
            while (event := self._session.next_event()) is not None:
                self._happened(event)
            self._flush()
        elif opcode != CLOSE:
            self._fail(f"WebSocket: opcode {opcode}")
        if self._session.finished and not self._is_leaving:
            self._is_leaving = True
            self._send(client_frame(CLOSE, _NORMAL_CLOSURE, os.urandom(4)))

    def _happened(self, event: events.Event) -> None:
        match event:
            case Accepted(media=media):
                self.is_open = True
                self._owner.opened(self, self._owner.clock() - self._asked)
                if media is None:
                    self._fail("no audio wanted")
            case events.RoundTrip(nanoseconds=nanoseconds):
                self._owner.answered(self, nanoseconds / 1e9)
            case events.Ended(reason=reason):
                self.is_closed = reason != events.CONNECTION_LOST
            case events.Fault(detail=detail):
                self._fail(detail)
            case Disconnected(reason=reason, info=info):
                self._fail(f"disconnect {reason}: {info}")
            case _:
                self._fail(type(event).__name__)

    def _fail(self, why: str) -> None:
        self.failure = self.failure or why
        self._end()

    def _end(self) -> None:
        self.is_open = False
        self._owner.ended(self)
