"""A listening port behind the PROXY protocol, without a socket."""

from typing import Any

from twisted.internet.address import IPv4Address

from audiohookd.edge.handshake_limiter import HandshakeLimiter
from audiohookd.edge.proxy_protocol import ProxyProtocolFactory
from tests.websocket.websocket_rig import Peer, Server

PROXY = IPv4Address("TCP", "10.0.0.1", 40_000)


class FrontedServer(Server):
    """What its peers send is a header first."""

    def __init__(self, secure: Any = lambda _: _, gate: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(**options)
        calls = self.factory
        calls.limiter = HandshakeLimiter(self.clock.seconds, self.counters.count, **gate or {})
        self.port = ProxyProtocolFactory(
            secure(calls), calls.pending, calls.rejection_log, self.clock, calls.handshake_timeout
        )

    def connect(self, peer: Any = PROXY) -> Peer:
        connected = super().connect(peer)
        connected.transport.setTcpNoDelay = lambda _: None  # type: ignore[attr-defined]  # TLS takes what is below it for TCP
        return connected
