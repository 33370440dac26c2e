"""The only place that knows Autobahn's server classes.

Its defaults are open ones, so each option that matters is set here: no status page (it redirects to wherever a query
says), limits on messages (there are none), violations answered with a close frame (TCP is dropped), no compression
(a context per connection, and mu-law does not deflate).
"""

from http import HTTPStatus
from typing import Any, Literal

import txaio
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny
from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from zope.interface import implementer

from audiohookd.auth.authenticator import Authenticator
from audiohookd.auth.request import UpgradeRequest
from audiohookd.protocol.codec import MAX_RECEIVED
from audiohookd.server.connection import Connection, Shared
from audiohookd.server.ears import Ears, Line
from audiohookd.server.frames import cut, first_frame, framed, may_become_whole, text_of
from audiohookd.server.head import Head, HeadGuard
from audiohookd.server.hearing import READ_SIZE
from audiohookd.server.lobby import Lobby
from audiohookd.server.upgrade import BadUpgrade, Upgrade, read_upgrade

#: Seconds that each refusal takes in total, so that its time tells nothing about its reason.
REFUSAL_TIME = 0.5
#: Bytes that may wait for a client that does not read; with more, it is dropped. 64 KiB more wait in the transport.
UNREAD_LIMIT = 1_048_576
#: Bytes that the header of a frame of ours takes at most: an empty pong is not for nothing.
FRAME_HEADER = 10
#: Seconds for a client to take what was sent before we close; then it is dropped.
LINGER_TIME = 5.0
#: TCP connections without a WebSocket that are kept. Nothing is known of them yet, so they must not cost calls.
PENDING_LIMIT = 1_024


class Door(Struct, frozen=True):
    """Who is let in, and how the others are told."""

    authenticator: Authenticator
    #: ``http``: status 401 instead of the upgrade. ``disconnect``: upgrade, then ``disconnect unauthorized``.
    failure: Literal["http", "disconnect"] = "http"


@implementer(IPushProducer)
class _Outbox:
    """Counts what is sent while the transport's buffer is full."""

    def __init__(self) -> None:
        self._clogged = False
        self._waiting = 0

    def is_too_much(self, size: int) -> bool:
        """``size`` bytes more are to be sent: would that be beyond the limit?"""
        if self._clogged:
            self._waiting += size + FRAME_HEADER
        return self._waiting > UNREAD_LIMIT

    def pauseProducing(self) -> None:
        """The transport holds more than it likes."""
        self._clogged = True

    def resumeProducing(self) -> None:
        """The transport has sent everything."""
        self._clogged = False
        self._waiting = 0

    def stopProducing(self) -> None:
        """The connection is gone."""


class AudioHookServerProtocol(WebSocketServerProtocol):
    """One connection: guards its request head, asks the authenticator, and passes messages to a Connection."""

    factory: "AudioHookServerFactory"
    data: bytes  # that has not been looked at yet: Autobahn's, and ours
    _log = Logger()
    # Autobahn's own. Fixed, because at debug it writes whole requests, and an unsigned API key is a password.
    log = txaio.make_logger("error")

    def connectionMade(self) -> None:
        """A TCP connection."""
        self._guard: HeadGuard | None = HeadGuard()
        self._connection: Connection | None = None
        self._upgrade: Upgrade | None = None
        self._authentic = True
        self._pending_refusal: IDelayedCall | None = None
        self._lingering: IDelayedCall | None = None
        self._line: Line | None = None
        self._outbox = _Outbox()
        super().connectionMade()
        if ITCPTransport.providedBy(self.transport):
            # Autobahn reads its own option before it is set, and swallows the error: a pong behind audio took 40 ms.
            self.transport.setTcpNoDelay(True)
        self.transport.bufferSize = READ_SIZE
        self.transport.registerProducer(self._outbox, True)
        oldest = self.factory.lobby.enter(self)
        if oldest is not None:
            self.factory.shared.counters.count("crowded_out")
            oldest.transport.abortConnection()

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """No TCP connection any more."""
        self.factory.lobby.leave(self)
        if self._line is not None:
            self.factory.ears.forget(self._line)
            self._line = None
        super().connectionLost(reason)
        self.is_open = self.is_closed = None  # Deferreds that Autobahn fired with the connection itself

    def dataReceived(self, data: bytes) -> None:
        """Octets. Autobahn gets the frames that are no whole messages, one by one, and the rest of what it has begun.

        Nothing before our answer, and nothing after the end: it would keep it all.
        """
        if self._guard is not None:
            self._look_at_head(self._guard, data)
        else:
            self._obstruct()
            self._take_in(data)
            self._clear()

    def _take_in(self, data: bytes) -> None:
        while data and self.state in (self.STATE_OPEN, self.STATE_CLOSING):
            if self.current_frame is None:
                data, self.data = self.data + data, b""
                if self.state == self.STATE_OPEN and not self.inside_message:
                    data = self._take_messages(data)
                size = first_frame(data)
            else:
                size = self.current_frame.length - self.current_frame_masker.pointer()
            if data:
                self._dataReceived(data[:size])
                data = data[size:]

    def _obstruct(self) -> None:
        """From here on, all that comes in is for :meth:`dataReceived`."""
        if self._line is not None:
            self._line.is_clear = False

    def _clear(self) -> None:
        """Between two messages of an open call, audio need not come this way."""
        if self._line is not None and self._line.transport is self.transport:
            whole = not self.data and self.current_frame is None and not self.inside_message
            self._line.is_clear = whole and self.state == self.STATE_OPEN and self._connection is not None

    def _take_messages(self, data: bytes) -> bytes:
        """Passes on the messages that ``data`` begins with; returns what is for Autobahn."""
        while data and self.state != self.STATE_CLOSED:
            messages, at = cut(data)
            for message in messages:
                if self.state != self.STATE_CLOSED:
                    self.onMessage(message, True)
            if at == len(data):
                break
            data = data[at:]
            if may_become_whole(data):
                self.data = data
                break
            size = first_frame(data)
            text = text_of(data[:size])
            if text is None:
                return data
            if self.state != self.STATE_CLOSED:
                self.onMessage(text, False)
            data = data[size:]
        return b""

    def _look_at_head(self, guard: HeadGuard, data: bytes) -> None:
        head = guard.feed(data)
        if head is Head.INCOMPLETE:
            return
        self._guard = None
        if head is Head.GOOD:
            self._dataReceived(guard.data)
        else:
            self.failHandshake("request head", head.value)

    def onConnect(self, request: Any) -> "Deferred[None] | None":
        """A whole upgrade request. Its outcome must not carry an exception's text to the peer."""
        try:
            return self._judge(request)
        except ConnectionDeny:
            raise
        except Exception:
            self._log.failure("upgrade failed")
            raise ConnectionDeny(500, "Internal Error") from None

    def _judge(self, request: Any) -> "Deferred[None] | None":
        since = self.factory.shared.clock.seconds()
        try:
            upgrade = read_upgrade(self.http_request_uri, request.headers, self._peer_name())
        except BadUpgrade as fault:
            raise ConnectionDeny(400, str(fault)) from None
        if upgrade.path not in self.factory.shared.routes:
            raise ConnectionDeny(404, f"no route for {upgrade.path}")
        if self.factory.shared.registry.crowded:
            raise ConnectionDeny(503, "too many connections")
        self._upgrade = upgrade
        now = self.factory.shared.now()
        verdict = self.factory.door.authenticator.authenticate(UpgradeRequest(upgrade.target, upgrade.headers), now)
        if verdict.accepted:
            return None
        self.factory.shared.counters.count("refusals", str(verdict.reason))
        self._log.warn(
            "{peer} refused: {reason} (session {session}, Host {host!r}, target {target!r})",
            peer=upgrade.peer,
            reason=str(verdict.reason),
            session=upgrade.session_id,
            host=self.http_request_host[:200],
            target=upgrade.target[:200],
        )
        return self._refuse(since)

    def _refuse(self, since: float) -> "Deferred[None]":
        refused: Deferred[None] = Deferred()
        if self.factory.door.failure == "http":
            refused.addCallback(_unauthorized)
        else:
            self._authentic = False
        shared = self.factory.shared
        delay = max(0.0, since + REFUSAL_TIME - shared.clock.seconds())
        self._pending_refusal = shared.clock.callLater(delay, refused.callback, None)
        return refused

    def _peer_name(self) -> str:
        return str(getattr(self.transport.getPeer(), "host", "unix"))

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        """No WebSocket. The peer learns the status and nothing else, whatever Autobahn would tell it."""
        if code != HTTPStatus.UNAUTHORIZED:  # which has been counted by its reason
            self.factory.shared.counters.count("refusals", f"http-{code}")
            if code == HTTPStatus.INTERNAL_SERVER_ERROR:
                self.factory.shared.counters.count("internal_errors")
            peer = self._peer_name()
            self._log.warn("{peer} refused: {code} {reason!r}", peer=peer, code=code, reason=reason[:200])
        super().failHandshake(HTTPStatus(code).phrase, code, responseHeaders)

    def onOpen(self) -> None:
        """The WebSocket is open."""
        self.factory.lobby.leave(self)
        if self._upgrade is not None:
            self._connection = Connection(self.factory.shared, self._upgrade, self, self._authentic)
            self._line = self.factory.ears.attend(self.transport, self._connection.audio)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A whole message."""
        if self._connection is not None:
            if isBinary:
                self._connection.audio(payload)
            else:
                self._connection.text(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection is gone. Autobahn leaves reference cycles behind: what is large goes now."""
        connection, self._connection = self._connection, None
        self._upgrade = self._guard = None
        self.data = b""
        for timer in (self._pending_refusal, self._lingering):
            if timer is not None and timer.active():
                timer.cancel()
        if connection is not None:
            connection.lost()

    # ---- Wire ------------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """See :class:`audiohookd.server.connection.Wire`."""
        if self._has_room(len(message)):
            self.transport.write(framed(message))
            if self._line is not None:
                self.factory.ears.hasten(self._line)

    def close(self) -> None:
        """See :class:`audiohookd.server.connection.Wire`."""
        if self.state == self.STATE_OPEN:
            self._obstruct()
            self.sendClose(1000)

    def abort(self) -> None:
        """See :class:`audiohookd.server.connection.Wire`."""
        self.dropConnection(abort=True)

    # ---- bounds ----------------------------------------------------------------------------------

    def onPing(self, payload: bytes) -> None:
        """A ping of the WebSocket, not of AudioHook."""
        if self._has_room(len(payload)):
            super().onPing(payload)

    def _has_room(self, size: int) -> bool:
        """May ``size`` bytes more be sent? Drops a client that has left too many unread."""
        if self.state == self.STATE_OPEN and self._outbox.is_too_much(size):
            self.factory.shared.counters.count("clogged")
            self.abort()
        return bool(self.state == self.STATE_OPEN)

    def _fail_connection(self, code: int = 1001, reason: str = "") -> None:
        # Too large, not UTF-8, not masked: the session never sees it.
        if self._connection is not None and not self.failedByMe:
            self._connection.blame(f"WebSocket closed with {code}: {reason}")
        self._obstruct()
        super()._fail_connection(code, reason)

    def _closeConnection(self, abort: bool = False) -> None:
        self._obstruct()
        # Twisted closes only once all is written, and that may be never.
        super()._closeConnection(abort)
        if not abort:
            self._lingering = self.factory.shared.clock.callLater(LINGER_TIME, self.transport.abortConnection)


def _unauthorized(_: None) -> None:
    raise ConnectionDeny(401, "Unauthorized")


class AudioHookServerFactory(WebSocketServerFactory):
    """Makes the protocols of one listening port.

    :param handshake_timeout: seconds for TCP connect to the complete request head; Autobahn keeps it on the reactor.
    :param max_pending: TCP connections that may be without a WebSocket; with one more, the oldest is dropped.
    """

    protocol = AudioHookServerProtocol
    noisy = False

    def logPrefix(self) -> str:
        """How the port calls itself in the log."""
        return "AudioHook"

    def __init__(
        self,
        shared: Shared,
        door: Door,
        max_pending: int = PENDING_LIMIT,
        handshake_timeout: float = 5.0,
        reactor: Any = None,
    ) -> None:
        super().__init__(None, server="", reactor=reactor)
        self.shared = shared
        self.door = door
        self.ears = Ears(self.reactor)
        self.lobby: Lobby[AudioHookServerProtocol] = Lobby(max_pending)
        self.setProtocolOptions(
            versions=[13],
            webStatus=False,
            utf8validateIncoming=True,
            requireMaskedClientFrames=True,
            maskServerFrames=False,
            applyMask=True,
            # Twice what a session takes, so that one slightly too large is still answered with `disconnect`.
            maxFramePayloadSize=2 * MAX_RECEIVED,
            maxMessagePayloadSize=2 * MAX_RECEIVED,
            failByDrop=False,
            openHandshakeTimeout=handshake_timeout,
            closeHandshakeTimeout=2.0,
            autoPingInterval=0,
            maxConnections=0,  # it counts who has said nothing yet, and turns calls away for them: see the lobby
            allowedOrigins=[],  # browsers are no clients here
            allowNullOrigin=False,
            trustXForwardedFor=0,
        )
