"""A listening port behind the PROXY protocol, without a socket."""

from typing import Any

from twisted.internet.address import IPv4Address

from audiohookd.server.behind_proxy import BehindProxy
from audiohookd.server.gate import Gate
from tests.server.websocket_rig import Peer, Server

PROXY = IPv4Address("TCP", "10.0.0.1", 40_000)


class FrontedServer(Server):
    """What its peers send is a header first."""

    def __init__(self, secure: Any = lambda _: _, gate: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(**options)
        calls = self.factory
        calls.gate = Gate(self.clock.seconds, self.counters.count, **gate or {})
        self.port = BehindProxy(secure(calls), calls.lobby, calls.refusals, self.clock, calls.handshake_timeout)

    def connect(self, peer: Any = PROXY) -> Peer:
        connected = super().connect(peer)
        connected.transport.setTcpNoDelay = lambda _: None  # TLS takes what is below it for TCP
        return connected
