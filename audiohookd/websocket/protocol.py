"""The WebSocket server: handshake, authentication, messages, end. Only this module uses Autobahn's server classes."""

from http import HTTPStatus
from math import inf
from typing import Any

import txaio
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.auth.authenticator import AuthResult
from audiohookd.auth.rejection import RejectionReason
from audiohookd.auth.request import UpgradeRequest
from audiohookd.diagnostics.recent import RecentRejections
from audiohookd.edge.base_transport import READ_SIZE, base_transport
from audiohookd.edge.client_address import client_address
from audiohookd.edge.handshake_limiter import HandshakeAttempt, HandshakeLimiter
from audiohookd.edge.pending_connections import PendingConnections
from audiohookd.edge.policy import HandshakePolicy, ReceiveLimits
from audiohookd.edge.rejected_sessions import RejectedSessionSlots
from audiohookd.edge.rejection_log import BEYOND, RejectionLog
from audiohookd.protocol.messages import DisconnectReason
from audiohookd.session import connection_end
from audiohookd.session.driver import Connection, ServerContext
from audiohookd.session.quotas import Owner
from audiohookd.session.registry import UNOWNED
from audiohookd.session.upgrade import UpgradeInfo
from audiohookd.websocket.autobahn_options import OPTIONS, freeze_options
from audiohookd.websocket.fastpath.batch_reader import BatchReader, ReadHandle
from audiohookd.websocket.fastpath.frames import (
    BINARY,
    CUT_LIMIT,
    TEXT,
    encode_frame,
    encode_pong,
    first_frame_length,
    header_length,
    is_control,
    is_fragment,
    is_partial_fast_frame,
    parse_binary_messages,
    parse_text_message,
)
from audiohookd.websocket.handshake import HandshakeRejected, check_handshake, minimal_request
from audiohookd.websocket.http_head import HeadState, RequestHead, RequestHeadValidator
from audiohookd.websocket.receive_limiter import ReceiveLimiter
from audiohookd.websocket.send_limit import SendBufferLimit
from audiohookd.websocket.upgrade import read_upgrade

#: Seconds that each rejection takes in total, so that its time does not reveal its reason.
REJECTION_TIME = 0.5
#: Seconds that a client has to read the last messages before it is dropped.
LINGER_TIME = 5.0
#: The most control frames, fragments and texts (20 to 100 µs each) of one connection in one batch, with at most
#: :data:`CUT_LIMIT` messages of audio before each. The rest waits for the next batch. One read may hold 680 such
#: frames, and 150 connections may send them at once.
FRAMES_PER_TURN = 4
#: TCP connections without a WebSocket, in addition to the number of calls.
PENDING_LIMIT = 1_024
#: Unauthenticated clients that are rejected by ``disconnect`` in a session at a time. Further ones get an HTTP
#: status, which needs no session.
REJECTED_SESSIONS_LIMIT = 64


class AudioHookServerProtocol(WebSocketServerProtocol):
    """One connection: validates its request head, authenticates it, and passes messages to a session driver."""

    factory: "AudioHookServerFactory"
    data: bytes  # bytes that were not parsed yet; shared with Autobahn
    _log = Logger()
    # Autobahn's logger. Fixed, because at debug it logs whole requests, and an unsigned API key is a password.
    log = txaio.make_logger("error")

    def connectionMade(self) -> None:
        """Handles a new TCP connection."""
        self._head_validator: RequestHeadValidator | None = RequestHeadValidator()
        self._connection: Connection | None = None
        self._end: connection_end.ConnectionEnd | None = None  # the first event that ended the connection
        self._request: RequestHead | None = None
        self._upgrade: UpgradeInfo | None = None
        self._disconnect_reason: DisconnectReason | None = None  # why the session is rejected
        self._attempt: HandshakeAttempt | None = None  # None until the client's address is known
        self._receive_limiter: ReceiveLimiter | None = None
        self._rejection_timer: IDelayedCall | None = None
        self._linger_timer: IDelayedCall | None = None
        self._read_handle: ReadHandle | None = None
        self._backlog = b""  # read, but left for the next batch
        self._send_limit = SendBufferLimit()
        super().connectionMade()
        if ITCPTransport.providedBy(self.transport):
            # Autobahn reads its own option before it is set and ignores the error: a pong behind audio took 40 ms.
            self.transport.setTcpNoDelay(True)
        base_transport(self.transport).bufferSize = READ_SIZE
        self.transport.registerProducer(self._send_limit, True)
        clock, timeout = self.factory.shared.clock, self.factory.handshake_timeout
        self._head_timer = clock.callLater(timeout, self._drop, "handshake-timeout")
        self._attempt = self.factory.limiter.check_connection(self._peer())
        if self._attempt is not None and self._attempt.rejection is not None:
            self.factory.rejection_log.dropped(self._peer_name(), self._attempt.reason)
            self.transport.abortConnection()
            return
        self.factory.pending.add(self)

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """Handles the loss of the TCP connection."""
        self.factory.pending.discard(self)
        self.factory.rejected_sessions.release(self)
        handle = self._read_handle
        read_error, is_at_end = (handle.fault, handle.is_at_end) if handle is not None else (0, False)
        end = connection_end.by_transport(reason, read_error, is_at_end)
        if end.cause in ("tls", "error"):  # logged here, because Autobahn would log the whole exception
            self.factory.rejection_log.dropped(self._peer_name(), end.reason)
            reason = Failure(ConnectionLost())
        self._end = self._end or end
        if self._read_handle is not None:
            self.factory.batch_reader.unregister(self._read_handle)
            self._read_handle = None
        super().connectionLost(reason)
        self.is_open = self.is_closed = None  # Autobahn's Deferreds hold this protocol: a cycle

    def dataReceived(self, data: bytes) -> None:
        """Handles received bytes. Autobahn receives only frames that are not whole messages, one at a time.

        It receives nothing before the answer to the upgrade and nothing after the end, because it would store it all.
        """
        if self._head_validator is not None:
            self._read_head(self._head_validator, data)
        else:
            self._disable_fast_path()
            self._handle_data(data)
            self._enable_fast_path()

    def _handle_data(self, data: bytes) -> None:
        """Handles the backlog and ``data``, at most :data:`FRAMES_PER_TURN` costly frames."""
        data, self._backlog = self._backlog + data, b""
        left = FRAMES_PER_TURN if self._read_handle is not None else inf
        while data and left and self.state in (self.STATE_OPEN, self.STATE_CLOSING):
            data = self._handle_frame(data)
            left -= 1
        if self._read_handle is not None:
            self._backlog = data if self.state in (self.STATE_OPEN, self.STATE_CLOSING) else b""
            self._read_handle.has_backlog = bool(self._backlog)
            self._read_handle.is_costly = self._read_handle.has_backlog or self._is_in_long_frame()

    def _is_in_long_frame(self) -> bool:
        """True if Autobahn is in a frame that is longer than a read. The end of a long text may take 2 ms or more."""
        return self.current_frame is not None and self.current_frame.length > READ_SIZE

    def _handle_frame(self, data: bytes) -> bytes:
        """Handles the messages, or a frame for Autobahn, at the start of ``data``. Returns the remaining bytes."""
        if self.current_frame is not None:
            size = self.current_frame.length - self.current_frame_masker.pointer()
        else:
            data, self.data = self.data + data, b""
            if self.state == self.STATE_OPEN and not self.inside_message:
                data, is_enough = self._handle_messages(data)
                if is_enough or not data:
                    return data
            if self.state == self.STATE_CLOSED or not self._charge_frame(data):
                return b""
            size = first_frame_length(data)
        self._dataReceived(data[:size])
        return data[size:]

    def _charge_frame(self, data: bytes) -> bool:
        """Counts the frame for Autobahn at the start of ``data``, once, when its header is complete.

        :returns: False if the client has been dropped.
        """
        if self._receive_limiter is None or len(data) < header_length(data):
            return True
        if is_control(data[0]):
            return self._receive_limiter.control_frame()
        return not is_fragment(data[0]) or self._receive_limiter.fragment(is_first=not self.inside_message)

    def _disable_fast_path(self) -> None:
        """Sends all bytes through :meth:`dataReceived` from now on."""
        if self._read_handle is not None:
            self._read_handle.fast_path = False

    def _enable_fast_path(self) -> None:
        """Turns the fast path on if an open connection is between two messages."""
        if self._read_handle is not None and self._read_handle.is_raw_tcp:
            whole = not self.data and not self._backlog and self.current_frame is None and not self.inside_message
            self._read_handle.fast_path = whole and self.state == self.STATE_OPEN and self._connection is not None

    def _handle_messages(self, data: bytes) -> tuple[bytes, bool]:
        """Passes on the binary messages at the start of ``data``, at most :data:`CUT_LIMIT`, and a text after them.

        :returns: the remaining bytes, and True if the limit was reached or a text was handled.
        """
        messages, at = parse_binary_messages(data)
        for message in messages:
            if self.state != self.STATE_CLOSED:
                self.onMessage(message, True)
        data = data[at:]
        if len(messages) == CUT_LIMIT:
            return data, True
        if is_partial_fast_frame(data):
            self.data = data
            return b"", False
        size = first_frame_length(data)
        text = parse_text_message(data[:size])
        if text is None:
            return data, False
        if self.state != self.STATE_CLOSED:
            self.onMessage(text, False)
        return data[size:], True

    def _read_head(self, validator: RequestHeadValidator, data: bytes) -> None:
        head = validator.feed(data)
        if head is HeadState.INCOMPLETE:
            return
        self._head_validator = None
        self._head_timer.cancel()
        if self._attempt is None:
            self._attempt = self.factory.limiter.check_request(self._peer(), validator.data)
        if self._attempt.rejection is not None:
            self.failHandshake(self._attempt.reason, self._attempt.rejection)
        elif validator.request is None:
            self.failHandshake(validator.fault, head.value)
        else:
            self._start_handshake(validator.request, validator.rest)

    def _start_handshake(self, head: RequestHead, rest: bytes) -> None:
        try:
            self._request = check_handshake(head)
        except HandshakeRejected as rejected:
            self.failHandshake(str(rejected), rejected.status, rejected.headers)
        else:
            self._backlog = rest
            self._dataReceived(minimal_request(head))
            if self.state == self.STATE_OPEN:
                self._handle_early_data()

    def onConnect(self, request: Any) -> "Deferred[None]":
        """Authenticates a complete upgrade request, without revealing the text of an exception to the peer."""
        return maybeDeferred(self._authenticate, self._request).addErrback(self._deny_internal_error)

    def _deny_internal_error(self, failure: Failure) -> Failure:
        if failure.check(ConnectionDeny):
            return failure
        self._log.failure("upgrade failed", failure)
        return Failure(ConnectionDeny(500, "Internal Error"))

    def _authenticate(self, request: RequestHead | None) -> "Deferred[None]":
        since = self.factory.shared.clock.seconds()
        if request is None:
            raise RuntimeError("the request was not checked")
        try:
            upgrade = read_upgrade(request.target, request.headers, self._peer_name())
        except HandshakeRejected as rejected:
            raise ConnectionDeny(int(rejected.status), str(rejected)) from None
        if upgrade.path not in self.factory.shared.routes:
            raise ConnectionDeny(404, f"no route for {upgrade.path}")
        self._deny_beyond_limit()
        self._upgrade = upgrade
        now = self.factory.shared.now()
        policy = self.factory.policy
        signed = UpgradeRequest(upgrade.target, upgrade.headers, policy.authority)
        return policy.authenticator.authenticate(signed, now).addCallback(self._authenticated, upgrade, since)

    def _authenticated(self, verdict: AuthResult, upgrade: UpgradeInfo, since: float) -> "Deferred[None] | None":
        if self.state != self.STATE_CONNECTING:  # the client left during the replay check
            raise ConnectionDeny(400, "gone")
        is_authentic = verdict.reason in (None, RejectionReason.REPLAY_STORE_DOWN)
        self._deny_beyond_limit(upgrade.owner if is_authentic else UNOWNED)
        if verdict.reason is None:
            return None
        self.factory.rejection_log.unauthentic(upgrade, verdict.reason)
        request = UpgradeRequest(upgrade.target, upgrade.headers, self.factory.policy.authority)
        self.factory.recent_rejections.note(self.factory.shared.now(), upgrade.peer, verdict.reason, request)
        if verdict.reason is RejectionReason.REPLAY_STORE_DOWN:
            # The signature is valid and the daemon at fault: Genesys Cloud retries a `disconnect`, but not a 401.
            if not self.factory.rejected_sessions.acquire(self, "error", verdict.nonce_id):
                raise ConnectionDeny(503, "too many while the replay store is down")
            self._disconnect_reason = "error"
            return None
        return self._reject(since)

    def _deny_beyond_limit(self, owner: Owner = UNOWNED) -> None:
        reason = self.factory.shared.registry.reject_upgrade(owner)
        if reason is not None:
            raise ConnectionDeny(503, reason)

    def _reject(self, since: float) -> "Deferred[None]":
        rejected: Deferred[None] = Deferred()
        shared, slots = self.factory.shared, self.factory.rejected_sessions
        if self.factory.policy.rejection == "disconnect" and slots.acquire(self, "unauthorized"):
            self._disconnect_reason = "unauthorized"
        else:
            rejected.addCallback(_unauthorized)
        delay = max(0.0, since + REJECTION_TIME - shared.clock.seconds())
        self._rejection_timer = shared.clock.callLater(delay, rejected.callback, None)
        return rejected

    def _peer(self) -> str | None:
        """The address of the peer, or from the PROXY header; None for a Unix socket."""
        return getattr(self.transport.getPeer(), "host", None)

    def _peer_name(self) -> str:
        return (self._attempt.client if self._attempt is not None else client_address(self._peer())).name

    def _drop(self, limit: str) -> None:
        """Drops a client that is too slow or exceeds a limit."""
        self._end = self._end or connection_end.by_abort(BEYOND.get(limit, limit))
        self.factory.rejection_log.exceeded(self._peer_name(), limit)
        self.transport.abortConnection()

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        """Rejects the upgrade. The peer receives only the status, not the reason that Autobahn would send."""
        if self.state == self.STATE_CLOSED:
            return
        if code != HTTPStatus.UNAUTHORIZED:  # 401 is already counted by its reason
            self.factory.rejection_log.failed(self._peer_name(), code, reason)
        super().failHandshake(HTTPStatus(code).phrase, code, responseHeaders)

    def onOpen(self) -> None:
        """Starts the session of an accepted upgrade."""
        self.factory.pending.discard(self)
        if self._attempt is not None and self._disconnect_reason != "unauthorized":
            if self._disconnect_reason is None:
                self.factory.limiter.mark_authenticated(self._attempt)
            else:
                self.factory.limiter.refund(self._attempt)
        if self._upgrade is not None:
            self._connection = Connection(self.factory.shared, self._upgrade, self, self._disconnect_reason)
            self._receive_limiter = ReceiveLimiter(
                self._connection, self.factory.receive_limits, self.factory.shared, self._drop
            )
            audio, text = self._receive_limiter.audio, self._receive_limiter.text
            self._read_handle = self.factory.batch_reader.register(
                self.transport, audio, text, self._handle_backlog, self._connection.plays_audio
            )
            if self._backlog:  # received with the request head, which Autobahn is still handling
                self.factory.shared.clock.callLater(0, self._handle_early_data)

    def _handle_early_data(self) -> None:
        """Handles frames that were received together with the request head."""
        self._handle_backlog()
        if self._backlog and self._read_handle is not None:
            self.factory.batch_reader.resume(self._read_handle)

    def _handle_backlog(self) -> None:
        """Handles the next part of the backlog."""
        self.dataReceived(b"")

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> bool | None:
        """Records the peer's close frame, because Autobahn replaces codes that it rejects by 1000."""
        if self.state == self.STATE_OPEN:
            self._end = self._end or connection_end.by_close_frame(code, reasonRaw)
        return bool(super().onCloseFrame(None if code in connection_end.REGISTERED_LATER else code, reasonRaw))

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Passes on a whole message."""
        if self._receive_limiter is not None:
            if isBinary:
                self._receive_limiter.audio(payload)
            else:
                self._receive_limiter.text(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Ends the session of a lost connection. Frees large objects, because Autobahn leaves reference cycles."""
        connection, self._connection, self._receive_limiter = self._connection, None, None
        self._upgrade = self._head_validator = self._request = None
        self.data = self._backlog = b""
        for timer in (self._head_timer, self._rejection_timer, self._linger_timer):
            if timer is not None and timer.active():
                timer.cancel()
        if connection is not None:
            connection.lost(self._end)

    # ---- IWebSocket --------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """See :class:`audiohookd.session.wire.IWebSocket`."""
        if self._may_send(len(message)):
            self._write(encode_frame(TEXT, message))

    def send_audio(self, data: bytes) -> None:
        """See :class:`audiohookd.session.wire.IWebSocket`."""
        if self._may_send(len(data)):
            self._write(encode_frame(BINARY, data))

    def _write(self, unsent: bytes) -> None:
        if self._read_handle is not None:
            unsent = self.factory.batch_reader.write_now(self._read_handle, unsent)
        if unsent:
            self.transport.write(unsent)

    def close(self, why: str) -> None:
        """See :class:`audiohookd.session.wire.IWebSocket`."""
        if self.state == self.STATE_OPEN:
            self._end = self._end or connection_end.ConnectionEnd("close-frame", "server", 1000, why)
            self._disable_fast_path()
            self.sendClose(1000)

    def abort(self) -> None:
        """See :class:`audiohookd.session.wire.IWebSocket`."""
        self.dropConnection(abort=True)

    # ---- bounds ----------------------------------------------------------------------------------

    def onPing(self, payload: bytes) -> None:
        """Answers a ping of the WebSocket, not of AudioHook. Autobahn would need longer to send the pong."""
        if self._may_send(len(payload)):
            self._write(encode_pong(payload))

    def _may_send(self, size: int) -> bool:
        """True if ``size`` more bytes may be sent. Drops a client that has left too many bytes unread."""
        if self.state == self.STATE_OPEN and self._send_limit.exceeds(size):
            self.factory.shared.counters.count("slow_clients_dropped")
            self._end = self._end or connection_end.by_abort("the client does not read")
            self.abort()
        return bool(self.state == self.STATE_OPEN)

    def _fail_connection(self, code: int = 1001, reason: str = "") -> None:
        # For frames that are too large, not UTF-8 or not masked, which the session does not receive.
        is_protocol_error = code == self.CLOSE_STATUS_CODE_PROTOCOL_ERROR
        closed = connection_end.by_unmasked_close_frame(self.data) if is_protocol_error else None
        if closed is None and self._connection is not None and not self.failedByMe:
            self._connection.log_protocol_error(f"WebSocket closed with {code}: {reason}")
        self._end = self._end or closed or connection_end.ConnectionEnd("close-frame", "server", code, reason)
        self._disable_fast_path()
        super()._fail_connection(code, reason)

    def _closeConnection(self, abort: bool = False) -> None:
        self._disable_fast_path()
        # Twisted closes only after all bytes are written, which may never happen.
        super()._closeConnection(abort)
        if not abort:
            self._linger_timer = self.factory.shared.clock.callLater(LINGER_TIME, self.transport.abortConnection)


def _unauthorized(_: None) -> None:
    raise ConnectionDeny(401, "Unauthorized")


class AudioHookServerFactory(WebSocketServerFactory):
    """Builds the protocols of one listening port.

    :param shared: the services that all connections share.
    :param policy: authenticates requests, and decides how to reject them.
    :param max_pending: the most TCP connections without a WebSocket, including connections that wait for a PROXY
        header. One more evicts the oldest.
    :param handshake_timeout: seconds from the connection to the complete request head, including TLS.
    :param limiter: the allow list and the rate limits of handshakes; by default every client may connect.
    :param receive_limits: rate limits of each client's messages.
    """

    protocol = AudioHookServerProtocol
    noisy = False

    def logPrefix(self) -> str:
        """The prefix of its log lines."""
        return "AudioHook"

    def __init__(  # noqa: PLR0913 - one argument per setting
        self,
        shared: ServerContext,
        policy: HandshakePolicy,
        max_pending: int = PENDING_LIMIT,
        handshake_timeout: float = 5.0,
        reactor: Any = None,
        limiter: HandshakeLimiter | None = None,
        receive_limits: ReceiveLimits = ReceiveLimits(),  # noqa: B008 - it is frozen
        *,
        uses_fast_path: bool = True,
    ) -> None:
        super().__init__(None, server="", reactor=reactor)
        self.shared = shared
        self.policy = policy
        self.batch_reader = BatchReader(self.reactor, uses_fast_path)
        #: The latest rejected requests, for the diagnosis at the admin port.
        self.recent_rejections = RecentRejections()
        self.pending: PendingConnections[Any] = PendingConnections(max_pending, self._evict)
        # Reason "error" means that the replay store is unavailable. Only calls and repeated requests get it; they may
        # use fewer places than there are WebSockets.
        error_slots = max(1, shared.registry.max_sessions // 2)
        self.rejected_sessions: RejectedSessionSlots[AudioHookServerProtocol] = RejectedSessionSlots(
            {"unauthorized": (REJECTED_SESSIONS_LIMIT, "strangers"), "error": (error_slots, "put-off")},
            shared.counters.count,
        )
        self.limiter = limiter or HandshakeLimiter(shared.clock.seconds, shared.counters.count)
        self.rejection_log = RejectionLog(shared.counters, shared.clock)
        self.handshake_timeout = handshake_timeout
        self.receive_limits = receive_limits
        self.setProtocolOptions(**OPTIONS)
        self.protocol = freeze_options(self.protocol, self)

    def _evict(self, oldest: Any) -> None:
        self.shared.counters.count("pending_connections_evicted")
        oldest.transport.abortConnection()
