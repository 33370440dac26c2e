"""The WebSocket of one call: Autobahn's client, and the upgrade request as Genesys Cloud sends it."""

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
#: Seconds that a signature is valid, as Genesys Cloud makes them.
SIGNATURE_LIFETIME = 30
#: Larger than the protocol allows, so that the session can say 413 itself.
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
    """Makes upgrade requests.

    :param secret: empty for requests that are not signed.
    """

    def __init__(self, target: Target, api_key: str, secret: bytes) -> None:
        self._target = target
        self._api_key = api_key
        self._secret = secret
        self._host = f"[{target.host}]" if ":" in target.host else target.host

    def request(self, organization_id: str, session_id: str, correlation_id: str, created: int) -> ConnectingRequest:
        """One request, signed at ``created`` (UNIX seconds) with a fresh nonce."""
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
    """Who has to know that there is no connection any more."""

    def gone(self, why: str | None, closing: str | None) -> None:
        """Once. ``why`` there was no WebSocket at all; None when there was one. ``closing``: how it was ended."""


@implementer(IPushProducer)
class CallProtocol(WebSocketClientProtocol):
    """Passes between a :class:`Conversation` and Autobahn; is its wire, and slows it down for a slow socket.

    Redirects are not followed and no compression is offered: Autobahn does neither by itself.
    """

    factory: "CallFactory"
    http_status_line = ""  # before there is one
    is_upgraded = False

    def connectionMade(self) -> None:
        """Connected; Autobahn makes the request."""
        super().connectionMade()
        # Autobahn's own option comes too late to have any effect, and Nagle adds 40 ms to a ping after audio.
        self.transport.setTcpNoDelay(True)

    def onConnecting(self, transport_details: Any) -> ConnectingRequest:
        """Autobahn asks what to request."""
        return self.factory.request

    def onOpen(self) -> None:
        """Autobahn is done with the upgrade."""
        self.is_upgraded = True
        self.registerProducer(self, True)
        self.factory.conversation.connected(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Autobahn has a message."""
        self.factory.conversation.received(payload, isBinary)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Autobahn has no connection any more. Called once, whatever happened before."""
        self.factory.conversation.lost()
        if self.is_upgraded:
            self.factory.owner.gone(None, self._closing())
        else:
            self.factory.owner.gone(self._refusal(), None)

    @property
    def is_answered(self) -> bool:
        """The server has answered the request with something that begins like HTTP."""
        return bool(self.http_status_line)

    def _closing(self) -> str | None:
        """How the server closed the WebSocket; None when it sent no close frame."""
        if self.remoteCloseCode is None and not self.wasClean:
            return f"its frames are wrong ({self.localCloseReason})" if self.failedByMe else None
        return closing(self.remoteCloseCode, self.remoteCloseReason)

    def _refusal(self) -> str:
        """Why there was no upgrade."""
        return refusal(str(self.http_status_line)) or str(self.wasNotCleanReason or "no upgrade")

    # ---- the wire --------------------------------------------------------------------------------

    def write_text(self, data: bytes) -> None:
        """See :class:`~audiohookd.cli.call.call.Wire`."""
        self._write(data, False)

    def write_audio(self, data: bytes) -> None:
        """See :class:`~audiohookd.cli.call.call.Wire`."""
        self._write(data, True)

    def close(self) -> None:
        """See :class:`~audiohookd.cli.call.call.Wire`."""
        self.unregisterProducer()  # TLS does not close as long as there is one
        self.sendClose(1000)

    def _write(self, data: bytes, is_binary: bool) -> None:
        try:
            self.sendMessage(data, is_binary)
        except Disconnected:
            return  # it is closing, and onClose will tell

    # ---- back-pressure ---------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """The transport has more to write than it likes."""
        self.factory.conversation.hold(True)

    def resumeProducing(self) -> None:
        """The transport has written it."""
        self.factory.conversation.hold(False)

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost follows."""
        self.factory.conversation.hold(True)


class CallFactory(WebSocketClientFactory):
    """Makes the one protocol of a call."""

    protocol = CallProtocol
    noisy = False

    def __init__(self, reactor: Any, request: ConnectingRequest, conversation: CallSession, owner: Owner) -> None:
        super().__init__(reactor=reactor)
        self.setProtocolOptions(**_OPTIONS)
        self.request = request
        self.conversation = conversation
        self.owner = owner
