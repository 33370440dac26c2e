"""A small AudioHook server on loopback for tests of the client: Autobahn with the server's real session."""

from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny
from twisted.internet.defer import Deferred

from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.message_signature import verify
from audiohookd.protocol import events
from audiohookd.protocol.entities import BargeIn
from audiohookd.protocol.session import Session
from audiohookd.protocol.timeouts import Timeouts

SECRET = b"not a secret at all"
#: The wall clock of client and server in the in-process tests, UNIX seconds.
NOW = 1_700_000_000.0


class LoopbackProtocol(WebSocketServerProtocol):
    """The server side of one call. The factory keeps it in ``calls``."""

    def onConnect(self, request: Any) -> None:
        server = self.factory.server
        self.request = request
        self.target = self.http_request_uri
        server.calls.append(self)
        if server.refuse_with is not None:
            raise ConnectionDeny(*server.refuse_with)
        if server.checks_signatures:
            self.signature = verify(UpgradeRequest(self.target, request.headers), SECRET, NOW)
        now = self.factory.reactor.seconds
        headers = request.headers
        self.frames: list[bytes] = []
        self.openings: list[events.OpenRequested] = []
        self.session = Session(headers["audiohook-session-id"], headers["audiohook-organization-id"], Timeouts(), now)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if isBinary:
            if self.session.receive_audio(payload):
                self.frames.append(payload)
                self.factory.server.heard(self)
        else:
            self.session.receive_text(payload)
        self.settle()

    @property
    def audio(self) -> bytes:
        return b"".join(self.frames)

    def settle(self) -> None:
        self.write()
        while (event := self.session.next_event()) is not None:
            self.act(event)
            self.write()

    def write(self) -> None:
        for data in self.session.take_outgoing():
            self.sendMessage(data)

    def act(self, event: events.Event) -> None:
        server = self.factory.server
        if isinstance(event, events.OpenRequested):
            if server.closes_with is not None:
                self.sendClose(*server.closes_with)
                return
            self.openings.append(event)
            self.session.accept(event.offers[0], supported_languages=server.languages)
        elif isinstance(event, events.Closing):
            server.closing.callback(self)
            server.closing = Deferred()
            if server.answers_close:
                self.session.send_event([BargeIn()])
                self.session.finish()

    def onClose(self, wasClean: bool, code: Any, reason: Any) -> None:
        self.was_clean = wasClean


class LoopbackServer:
    """Listens on a free port of 127.0.0.1 until :meth:`stop`."""

    def __init__(self, reactor: Any) -> None:
        self.calls: list[Any] = []
        self.refuse_with: tuple[Any, ...] | None = None
        self.checks_signatures = False
        self.closes_with: tuple[int, str] | None = None
        self.answers_close = True
        self.languages: tuple[str, ...] | None = None
        self.hearing: Deferred[Any] = Deferred()
        self.closing: Deferred[Any] = Deferred()
        factory = WebSocketServerFactory(reactor=reactor)
        factory.protocol = LoopbackProtocol
        factory.server = self
        factory.setProtocolOptions(maxMessagePayloadSize=65_536)
        factory.noisy = False
        self._port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.url = f"ws://127.0.0.1:{self._port.getHost().port}/audio%2Fhook?a=1"

    def heard(self, call: Any) -> None:
        """Fires ``hearing`` with the first call that sends audio."""
        if not self.hearing.called:
            self.hearing.callback(call)

    def stop(self) -> Any:
        return self._port.stopListening()
