"""One attempt at a call over a WebSocket, from the TCP connection to its end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import error
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from audiohookd.cli import websocket
from audiohookd.cli.call.call import CallSession
from audiohookd.cli.target import Target
from audiohookd.cli.upgrade import NotUpgraded, Request, check_upgrade, meaning, read_response

GIVEN_UP = "interrupted before the session was open"

#: Seconds to resolve the name and open the TCP connection, and then for the response to the upgrade request.
_CONNECT_TIMEOUT = _UPGRADE_TIMEOUT = 10.0
#: Seconds for the server to answer a close frame, and to close the TCP connection.
_CLOSE_TIMEOUT = 2.0
_PROTOCOL_ERROR = 1002

#: Finds the reason of a TLS failure, and calls back with it, or with None if there is none.
ExplainTls = Callable[[Callable[[str | None], None]], None]


def endpoint(reactor: Any, target: Target, ca: Path | None = None) -> tuple[Any, ExplainTls | None]:
    """An IStreamClientEndpoint for a target, and for wss:// a function that explains TLS failures.

    :param ca: authorities to trust in addition to the system's.
    :raises ImportError: the target needs TLS, and OpenSSL is not installed.
    :raises UsageError: the file ``ca`` contains no certificate.
    """
    plain = HostnameEndpoint(reactor, *target.address, timeout=_CONNECT_TIMEOUT)
    if not target.is_secure:
        return plain, None
    # Imported here because it needs OpenSSL, which ws:// does not need.
    from audiohookd.cli.call.tls import TlsFailure, secured  # noqa: PLC0415

    failure = TlsFailure(reactor, target, ca)
    return secured(plain, target.host, ca), failure.explain


@implementer(IPushProducer)
class Connection(Protocol):
    """Connects a :class:`~audiohookd.cli.call.call.CallSession` to a server at once, with back-pressure.

    :param done: called once at the end. First argument: the reason why there was no WebSocket, None if there was one.
        Second: how the server closed the WebSocket, None if it did not.
    :param explain_tls: finds the reason if a ``wss://`` connection is lost before the server responds.
    """

    transport: Any = None

    def __init__(
        self,
        reactor: Any,
        endpoint: Any,
        request: Request,
        session: CallSession,
        done: Callable[[str | None, str | None], None],
        explain_tls: ExplainTls | None = None,
    ) -> None:
        self._reactor = reactor
        self._request = request
        self._session = session
        self._done = done
        self._explain_tls = explain_tls
        self._is_given_up = self._is_closing = False
        self._head = b""  # of the response
        self._frames: websocket.ServerFrames | None = None  # after the upgrade
        self._refusal: str | None = None
        self._closing: str | None = None
        self._timer: Any = None
        self._connecting = connectProtocol(endpoint, self)
        self._connecting.addErrback(self._failed)

    def hang_up(self) -> None:
        """Ends the call with ``close``. Before the upgrade, aborts the attempt."""
        if self._frames is not None:
            self._session.hang_up()
        else:
            self.abort()

    def abort(self) -> None:
        """Drops the connection at once."""
        self._is_given_up = True
        if self.transport is None:
            self._connecting.cancel()
        else:
            self.transport.abortConnection()

    def _failed(self, failure: Failure) -> None:
        # A cancelled attempt may fail with an unrelated error, such as `no such host`.
        self._done(GIVEN_UP if self._is_given_up else describe_failure(failure.value), None)

    # ---- IProtocol -------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """The TCP connection is open."""
        self.transport.setTcpNoDelay(True)  # Nagle's algorithm adds 40 ms to a ping after audio
        self.transport.write(self._request.head)
        self._refusal = "the connection was lost before the server responded to the upgrade request"
        self._limit(_UPGRADE_TIMEOUT, "timed out: the server did not respond to the upgrade request")

    def dataReceived(self, data: bytes) -> None:
        """Bytes arrived."""
        if self._frames is None:
            self._head += data
            self._read_response()
        else:
            self._read_frames(data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The connection has ended, before or after the upgrade."""
        self._stop_timer()
        self._session.lost()
        if self._frames is not None:
            self._done(None, self._closing)
        elif self._is_given_up:
            self._done(GIVEN_UP, None)
        elif self._explain_tls is not None and not self._head:
            self._explain_tls(lambda explained: self._done(explained or self._refusal, None))
        else:
            self._done(self._refusal, None)

    def _read_response(self) -> None:
        try:
            response = read_response(self._head)
            if response is None:
                return
            if response.status == 101:
                check_upgrade(response, self._request.key)
        except NotUpgraded as error:
            self._drop(str(error))
            return
        if response.status != 101:
            self._drop(f"HTTP {response}: {meaning(response)}")
            return
        self._stop_timer()
        self._frames = websocket.ServerFrames()
        self.transport.registerProducer(self, True)
        self._session.connected(self)
        self._read_frames(response.rest)

    def _read_frames(self, data: bytes) -> None:
        if self._frames is None or self._closing is not None:
            return
        try:
            for opcode, payload in self._frames.feed(data):
                if opcode == websocket.CLOSE:
                    self._closing = describe_close(websocket.read_close(payload))
                    self._close(websocket.NORMAL_CLOSURE)
                    return
                if opcode == websocket.PING:
                    self._write(websocket.PONG, payload)
                elif opcode != websocket.PONG:
                    self._session.received(payload, opcode == websocket.BINARY)
        except websocket.MalformedFrame as error:
            self._closing = f"protocol error in its frames ({error})"
            self._close(_PROTOCOL_ERROR)

    def _drop(self, reason: str) -> None:
        self._refusal = reason
        self.transport.abortConnection()

    def _limit(self, seconds: float, reason: str | None = None) -> None:
        """Drops the connection after this time."""
        self._stop_timer()
        self._timer = self._reactor.callLater(seconds, self._drop, reason)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    # ---- ICallTransport --------------------------------------------------------------------------

    def write_text(self, data: bytes) -> None:
        """See :class:`~audiohookd.cli.call.call.ICallTransport`."""
        self._write(websocket.TEXT, data)

    def write_audio(self, data: bytes) -> None:
        """See :class:`~audiohookd.cli.call.call.ICallTransport`."""
        self._write(websocket.BINARY, data)

    def close(self) -> None:
        """See :class:`~audiohookd.cli.call.call.ICallTransport`."""
        self._close(websocket.NORMAL_CLOSURE)

    def _write(self, opcode: int, data: bytes) -> None:
        if not self._is_closing:
            self.transport.write(websocket.frame(opcode, data))

    def _close(self, code: int) -> None:
        """Sends a close frame unless one was sent, and waits for the server to close the connection."""
        if not self._is_closing:
            self._is_closing = True
            self.transport.unregisterProducer()  # TLS does not close while a producer is registered
            self.transport.write(websocket.close_frame(code))
        self._limit(_CLOSE_TIMEOUT)

    # ---- IPushProducer: back-pressure ------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The write buffer of the transport is full."""
        self._session.hold(True)

    def resumeProducing(self) -> None:
        """The write buffer of the transport is empty."""
        self._session.hold(False)

    def stopProducing(self) -> None:
        """The transport is closed; connectionLost follows."""
        self._session.hold(True)


def describe_failure(failure: BaseException | None) -> str:
    """Describes why the TCP connection failed."""
    match failure:
        case error.ConnectionRefusedError():
            return "connection refused"
        case error.DNSLookupError():
            return "no such host"
        case error.TimeoutError() | error.TCPTimedOutError():
            return "the connection timed out"
    return " ".join(str(failure).split()) or type(failure).__name__


def describe_close(close: websocket.Close) -> str:
    """Describes the close frame of a server."""
    code = "missing" if close.code == websocket.NO_CODE else close.code
    return f"code {code}{f', reason {close.reason!r}' if close.reason else ''}"
