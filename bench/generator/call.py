"""One call on its own socket. The protocol's client checks the messages; ``audio_sender`` sends the audio."""

import os
import socket
from typing import Protocol

from audiohookd.cli.upgrade import NotUpgraded, Request, check_upgrade, read_response
from audiohookd.cli.websocket import CLOSE, TEXT, MalformedFrame, ServerFrames, close_frame, frame
from audiohookd.protocol import events
from audiohookd.protocol.client.events import Accepted, Disconnected
from audiohookd.protocol.client.session import ClientSession

_READ = 65_536


class Owner(Protocol):
    """Has many calls, and is notified of their events."""

    def clock(self) -> float:
        """Seconds, from any origin."""

    def opened(self, call: "Call", seconds: float) -> None:
        """``opened`` arrived ``seconds`` after ``open``: the server now accepts audio."""

    def answered(self, call: "Call", seconds: float) -> None:
        """The ``pong`` arrived ``seconds`` after its ``ping``."""

    def watch(self, call: "Call") -> None:
        """Watch its socket for reading, and for writing while it is blocked. Called when this changes."""

    def ended(self, call: "Call") -> None:
        """The server accepts no more audio. Called at least once, before the number of the socket can be reused."""


class Call:
    """Connects when it is created, without blocking. Its owner calls ``readable`` and ``writable``.

    :param number: index among the owner's calls.
    """

    def __init__(
        self, address: tuple[str, int], session: ClientSession, request: Request, number: int, owner: Owner
    ) -> None:
        self.number = number
        #: The server accepts audio.
        self.is_open = False
        #: The server sent ``closed``.
        self.is_closed = False
        #: The connection has ended.
        self.is_disconnected = False
        #: The first error.
        self.failure: str | None = None
        #: How often the socket did not accept all bytes.
        self.blocked_count = 0
        self._session = session
        self._request = request
        self._owner = owner
        self._open_sent_at = 0.0
        self._reported_samples = 0  # per channel
        self._close_sent = False  # the close frame of the WebSocket
        self._head: bytes | None = b""
        self._frames = ServerFrames()
        self._unsent = request.head
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.connect_ex(address)
        owner.watch(self)

    @property
    def id(self) -> str:
        """The id of the session."""
        return self._session.id

    @property
    def is_blocked(self) -> bool:
        """Whether bytes wait for the socket."""
        return bool(self._unsent)

    def fileno(self) -> int:
        """The descriptor of the socket."""
        return self._socket.fileno()

    # ---- sending ---------------------------------------------------------------------------------

    def finish(self, frame: bytes, taken: int) -> None:
        """Queues the rest of ``frame`` after the socket accepted ``taken`` bytes, or drops on a negative errno."""
        if taken < 0:
            self.drop(f"connection lost: {os.strerror(-taken)}")
        else:
            self._queue(frame[taken:])

    def ping(self, samples: int) -> None:
        """Sends a ``ping``, unless one is pending. ``samples`` is the position of the call, per channel."""
        self._catch_up(samples)
        if self._session.ping():
            self._flush()

    def close(self, samples: int) -> None:
        """Ends the session with ``close``."""
        self._catch_up(samples)
        self._end()
        self._session.close()
        self._flush()

    def drop(self, reason: str) -> None:
        """Closes the socket. Does nothing if it is already closed."""
        if not self.is_disconnected:
            self.is_disconnected = True
            self._end()
            self._socket.close()
            if not self.is_closed:
                self._fail(reason)

    def writable(self) -> None:
        """Sends queued bytes: the socket accepts data again."""
        unsent, self._unsent = self._unsent, b""
        self._send(unsent)
        if not self._unsent and not self.is_disconnected:
            self._owner.watch(self)

    def _catch_up(self, samples: int) -> None:
        self._session.advance(samples - self._reported_samples)
        self._reported_samples = samples

    def _flush(self) -> None:
        for text in self._session.take_outgoing():
            self._send(frame(TEXT, text))

    def _send(self, data: bytes) -> None:
        try:
            taken = 0 if self._unsent else self._socket.send(data)
        except BlockingIOError:
            taken = 0
        except OSError as error:
            self.drop(f"connection lost: {error.strerror}")
            return
        if taken < len(data):
            self._queue(data[taken:])

    def _queue(self, data: bytes) -> None:
        """Queues ``data`` until the socket accepts data again."""
        was_free = not self._unsent
        self._unsent += data
        if was_free:
            self.blocked_count += 1
            self._owner.watch(self)

    # ---- receiving -------------------------------------------------------------------------------

    def readable(self) -> None:
        """Reads from the socket, and processes the data."""
        try:
            data = self._socket.recv(_READ)
        except BlockingIOError:
            return
        except OSError as error:
            self.drop(f"connection lost: {error.strerror}")
            return
        if not data:
            self.drop("connection closed by the server")
        elif self._head is not None:
            self._read_response(self._head + data)
        else:
            self._read_frames(data)

    def _read_response(self, data: bytes) -> None:
        self._head = data
        try:
            response = read_response(data)
            if response is None:
                return
            if response.status != 101:
                self.drop(f"no upgrade: {response}")
                return
            check_upgrade(response, self._request.key)
        except NotUpgraded as error:
            self.drop(f"no upgrade: {error}")
            return
        self._head = None
        self._open_sent_at = self._owner.clock()
        self._session.start()
        self._flush()
        self._read_frames(response.rest)

    def _read_frames(self, data: bytes) -> None:
        try:
            for opcode, payload in self._frames.feed(data):
                self._receive(opcode, payload)
        except MalformedFrame as error:
            self.drop(f"WebSocket: {error}")

    def _receive(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self._session.receive_text(payload)
            while (event := self._session.next_event()) is not None:
                self._handle_event(event)
            self._flush()
        elif opcode != CLOSE:
            self._fail(f"WebSocket: opcode {opcode}")
        if self._session.finished and not self._close_sent:
            self._close_sent = True
            self._send(close_frame())

    def _handle_event(self, event: events.Event) -> None:
        match event:
            case Accepted(media=media):
                self.is_open = True
                self._owner.opened(self, self._owner.clock() - self._open_sent_at)
                if media is None:
                    self._fail("the server accepted no audio format")
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

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or reason
        self._end()

    def _end(self) -> None:
        self.is_open = False
        self._owner.ended(self)
