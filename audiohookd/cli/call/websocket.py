"""The WebSocket of one call: Autobahn's client, with the upgrade request that Genesys Cloud sends."""

import base64
import secrets
from typing import Any, Protocol

from autobahn.exception import Disconnected
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from autobahn.websocket.types import ConnectingRequest
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.message_signature import sign
from audiohookd.cli.call.call import CallSession
from audiohookd.cli.call.failures import closing, refusal
from audiohookd.cli.target import Target

USER_AGENT = "GenesysCloud-AudioHook-Client"
#: Seconds for which a signature of Genesys Cloud is valid.
SIGNATURE_LIFETIME = 30
#: Larger than the protocol allows, so that the session itself can report error 413.
_MAX_MESSAGE = 1 << 20

_OPTIONS = {
    "openHandshakeTimeout": 10,
    "closeHandshakeTimeout": 2,
    "serverConnectionDropTimeout": 2,
    "failByDrop": False,
    "maxFramePayloadSize": _MAX_MESSAGE,
    "maxMessagePayloadSize": _MAX_MESSAGE,
}


class Upgrade:
    """Builds upgrade requests.

    :param secret: empty: requests are not signed.
    """

    def __init__(self, target: Target, api_key: str, secret: bytes) -> None:
        self._target = target
        self._api_key = api_key
        self._secret = secret
        self._host = f"[{target.host}]" if ":" in target.host else target.host

    def request(self, organization_id: str, session_id: str, correlation_id: str, created: int) -> ConnectingRequest:
        """Builds a request, signed at ``created`` (UNIX seconds) with a new nonce."""
        headers = {
            "Audiohook-Organization-Id": organization_id,
            "Audiohook-Session-Id": session_id,
            "Audiohook-Correlation-Id": correlation_id,
            "X-API-KEY": self._api_key,
        }
        if self._secret:
            headers |= self._signature(headers, created)
        target = self._target
        return ConnectingRequest(self._host, target.port, target.resource, headers, USER_AGENT)

    def _signature(self, headers: dict[str, str], created: int) -> dict[str, str]:
        signed = {name.lower(): value for name, value in headers.items()}
        signed["host"] = f"{self._host}:{self._target.port}"  # Autobahn always writes the port
        fields = sign(
            UpgradeRequest(self._target.resource, signed),
            self._secret,
            created=created,
            expires=created + SIGNATURE_LIFETIME,
            nonce=base64.b64encode(secrets.token_bytes(18)).decode(),
        )
        return {"Signature-Input": fields.signature_input, "Signature": fields.signature}


class Owner(Protocol):
    """Receives the end of the connection."""

    def gone(self, reason: str | None, closing: str | None) -> None:
        """The connection has ended. Called once.

        :param reason: why there was no WebSocket; None if there was one.
        :param closing: how the server closed the WebSocket; None if it did not.
        """


@implementer(IPushProducer)
class CallProtocol(WebSocketClientProtocol):
    """Connects a :class:`~audiohookd.cli.call.call.CallSession` to Autobahn, with back-pressure for a slow socket.

    It follows no redirects and offers no compression: Autobahn does neither by default.
    """

    factory: "CallFactory"
    http_status_line = ""  # until the server responds
    is_upgraded = False

    def connectionMade(self) -> None:
        """The TCP connection is open. Autobahn sends the request."""
        super().connectionMade()
        # Autobahn applies its own option too late, and Nagle's algorithm adds 40 ms to a ping after audio.
        self.transport.setTcpNoDelay(True)

    def onConnecting(self, transport_details: Any) -> ConnectingRequest:
        """Autobahn asks for the upgrade request."""
        return self.factory.request

    def onOpen(self) -> None:
        """The upgrade succeeded."""
        self.is_upgraded = True
        self.registerProducer(self, True)
        self.factory.session.connected(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """A message arrived."""
        self.factory.session.received(payload, isBinary)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """The connection has ended, before or after the upgrade. Called once."""
        self.factory.session.lost()
        if self.is_upgraded:
            self.factory.owner.gone(None, self._closing())
        else:
            self.factory.owner.gone(self._refusal(), None)

    @property
    def is_answered(self) -> bool:
        """Whether the server has sent a status line."""
        return bool(self.http_status_line)

    def _closing(self) -> str | None:
        """How the server closed the WebSocket. None if it sent no close frame."""
        if self.remoteCloseCode is None and not self.wasClean:
            return f"protocol error in its frames ({self.localCloseReason})" if self.failedByMe else None
        return closing(self.remoteCloseCode, self.remoteCloseReason)

    def _refusal(self) -> str:
        """Why the upgrade failed."""
        return refusal(str(self.http_status_line)) or str(self.wasNotCleanReason or "no upgrade")

    # ---- ICallTransport --------------------------------------------------------------------------

    def write_text(self, data: bytes) -> None:
        """See :class:`~audiohookd.cli.call.call.ICallTransport`."""
        self._write(data, False)

    def write_audio(self, data: bytes) -> None:
        """See :class:`~audiohookd.cli.call.call.ICallTransport`."""
        self._write(data, True)

    def close(self) -> None:
        """See :class:`~audiohookd.cli.call.call.ICallTransport`."""
        self.unregisterProducer()  # TLS does not close while a producer is registered
        self.sendClose(1000)

    def _write(self, data: bytes, is_binary: bool) -> None:
        try:
            self.sendMessage(data, is_binary)
        except Disconnected:
            return  # the connection is closing; onClose follows

    # ---- back-pressure ---------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The write buffer of the transport is full."""
        self.factory.session.hold(True)

    def resumeProducing(self) -> None:
        """The write buffer of the transport is empty."""
        self.factory.session.hold(False)

    def stopProducing(self) -> None:
        """The transport is closed; connectionLost follows."""
        self.factory.session.hold(True)


class CallFactory(WebSocketClientFactory):
    """Builds the protocol of one call."""

    protocol = CallProtocol
    noisy = False

    def __init__(self, reactor: Any, request: ConnectingRequest, session: CallSession, owner: Owner) -> None:
        super().__init__(reactor=reactor)
        self.setProtocolOptions(**_OPTIONS)
        self.request = request
        self.session = session
        self.owner = owner
