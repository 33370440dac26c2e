"""A port behind the PROXY protocol: the client is checked before its data is read."""

import ssl
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.logger import LogEvent, eventAsText

from audiohookd.edge.handshake_limiter import HandshakeLimits
from audiohookd.edge.networks import NetworkSet
from audiohookd.edge.proxy_header import MAX_V2
from audiohookd.edge.proxy_protocol import ProxyProtocol
from audiohookd.edge.tls import Identification, read_identity, secured
from audiohookd.testing import SESSION_ID
from tests.certificates import write_certificate
from tests.proxy_headers import LOCAL, UNSPECIFIED, v1, v2, v2_of
from tests.websocket.proxied_rig import PROXY, FrontedServer
from tests.websocket.websocket_rig import OPEN, Peer, binary, request_head, text

CALLER, STRANGER = ip_address("192.0.2.1"), ip_address("198.51.100.1")
HEADER = v1(CALLER)


def lines(logged: list[LogEvent]) -> list[str]:
    return [str(eventAsText(event, includeTimestamp=False, includeSystem=False)) for event in logged]


def call(server: FrontedServer, header: bytes, at_once: bytes = b"") -> Peer:
    """A connection that has sent its header, and the bytes in ``at_once`` with it."""
    peer = server.connect()
    peer.send(header + at_once)
    return peer


class TestCalls:
    def test_call_has_the_address_of_the_client(self) -> None:
        server = FrontedServer()
        caller = call(server, HEADER).opened()
        assert caller.protocol.getPeer() == IPv4Address("TCP", "192.0.2.1", 40_000)
        assert server.sink.names[:1] == ["opened"]

    @pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", v2_of(LOCAL, UNSPECIFIED)])
    def test_call_without_a_client_has_the_address_of_the_proxy(self, header: bytes) -> None:
        assert call(FrontedServer(), header).opened().protocol.getPeer() == PROXY

    @given(st.lists(st.integers(0, 2_000), max_size=10), st.sampled_from([HEADER, v2(CALLER)]))
    def test_call_may_arrive_in_any_pieces(self, places: list[int], header: bytes) -> None:
        audio = b"\xff" * 320
        stream = header + request_head()
        ends = [*sorted(place % (len(stream) + 1) for place in places), len(stream)]
        server = FrontedServer()
        caller = server.connect()
        for start, end in zip([0, *ends], ends, strict=False):
            if end > start:
                caller.send(stream[start:end])
        assert caller.answer().startswith(b"HTTP/1.1 101 ")
        caller.send(text(OPEN) + binary(audio))
        assert server.sink.arguments("audio") == [audio]

    def test_call_leaves_nothing_behind(self) -> None:
        server = FrontedServer()
        caller = call(server, HEADER).opened()
        caller.lose()
        server.clock.advance(60.0)
        assert server.port.protocols == {}
        assert (len(server.factory.pending), server.clock.getDelayedCalls()) == (0, [])
        assert server.sink.names[-1] == "closed"


class TestHandshakeLimiter:
    def test_client_is_rejected_before_its_first_byte_is_read(self) -> None:
        server = FrontedServer()
        server.factory.limiter.allowed = NetworkSet(["192.0.2.0/24"])
        stranger = call(server, v2(STRANGER), at_once=request_head())
        assert stranger.is_aborted
        assert stranger.answer() == b""
        assert len(server.factory.pending) == 0
        stranger.lose()
        assert server.clock.getDelayedCalls() == []
        call(server, v2(CALLER)).opened()

    def test_limiter_counts_handshakes_by_client(self, logged: list[LogEvent]) -> None:
        server = FrontedServer(gate={"limits": HandshakeLimits(per_address=0.1)})
        assert [call(server, v1(STRANGER)).is_aborted for _ in range(3)] == [False, True, True]
        assert server.counters.value("limit_hits", "handshakes-per-address") == 2
        assert lines(logged) == ["198.51.100.1 dropped: above limits.handshakes_per_second"] * 2
        call(server, HEADER).opened()

    def test_limiter_refunds_authenticated_handshakes(self) -> None:
        server = FrontedServer(gate={"limits": HandshakeLimits(per_address=0.1)})
        for number in range(4):
            call(server, HEADER).upgrade(nonce=f"another-nonce-of-{number:07}")

    def test_limiter_waits_for_the_request_behind_a_second_proxy(self) -> None:
        server = FrontedServer(gate={"hops": 1})
        server.factory.limiter.allowed = NetworkSet(["192.0.2.0/24"])
        peer = call(server, v1(STRANGER))
        peer.send(request_head(X_Forwarded_For="198.51.100.1"))
        assert peer.status() == b"HTTP/1.1 403 Forbidden"
        call(server, v1(STRANGER)).upgrade(X_Forwarded_For="192.0.2.1")


class TestTLS:
    @pytest.fixture
    def server(self, tmp_path: Path) -> FrontedServer:
        identification = Identification(read_identity(*write_certificate(tmp_path)))
        server = FrontedServer(lambda factory: secured(factory, identification, factory.shared.clock))
        server.factory.limiter.allowed = NetworkSet(["192.0.2.0/24"])
        return server

    def hello(self) -> bytes:
        """The first message of a TLS client."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="calls.example.com")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        return outgoing.read()

    def test_handshake_starts_after_the_header(self, server: FrontedServer) -> None:
        caller = call(server, HEADER, at_once=self.hello())
        server.clock.advance(0)
        assert caller.answer()[:1] == b"\x16"
        assert not caller.is_aborted

    def test_handshake_does_not_start_for_a_rejected_client(self, server: FrontedServer) -> None:
        stranger = call(server, v2(STRANGER), at_once=self.hello())
        stranger.send(self.hello())
        server.clock.advance(0)
        assert stranger.is_aborted
        assert stranger.answer() == b""


class TestRejectedClients:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"GET / HTTP/1.1\r\n\r\n", "no PROXY header"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 x 443\r\n", "bad PROXY header"),
            (v2(CALLER)[:14] + b"\xff\xff", "PROXY header too long"),
        ],
    )
    def test_invalid_header_is_logged(self, data: bytes, reason: str, logged: list[LogEvent]) -> None:
        server = FrontedServer()
        stranger = call(server, data)
        assert stranger.is_aborted
        stranger.send(HEADER + request_head())
        assert stranger.answer() == b""
        assert lines(logged) == [f"10.0.0.1 dropped: {reason}"]
        assert server.counters.value("rejections", "dropped") == 1
        assert (len(server.factory.pending), server.clock.getDelayedCalls()) == (0, [])
        stranger.lose()
        assert server.port.protocols == {}

    def test_thousand_invalid_headers_log_a_few_lines(self, logged: list[LogEvent]) -> None:
        server = FrontedServer()
        for number in range(1_000):
            call(server, b"nonsense %d" % number)
        assert 0 < len(lines(logged)) <= 20
        assert server.counters.value("rejections", "dropped") == 1_000

    @given(st.lists(st.binary(min_size=1, max_size=400), min_size=1, max_size=6), st.sampled_from([b"", HEADER[:20]]))
    def test_arbitrary_data_is_never_accepted(self, pieces: list[bytes], beginning: bytes) -> None:
        server = FrontedServer()
        stranger = call(server, beginning)
        for piece in pieces:
            stranger.send(piece)
        assert not stranger.answer().startswith(b"HTTP/1.1 101")
        stranger.lose()
        assert server.clock.getDelayedCalls() == []

    def test_slow_header_times_out_after_five_seconds(self, logged: list[LogEvent]) -> None:
        server = FrontedServer()
        slow = server.connect()
        for byte in HEADER[:20]:
            slow.send(bytes([byte]))
            server.clock.advance(0.24)
        assert not slow.is_aborted
        server.clock.advance(0.3)
        assert slow.is_aborted
        assert server.counters.value("limit_hits", "handshake-timeout") == 1
        assert lines(logged) == ["10.0.0.1 dropped: timed out (limits.handshake_timeout)"]
        assert len(server.factory.pending) == 0

    def test_slow_request_times_out_after_five_more_seconds(self) -> None:
        server = FrontedServer()
        slow = server.connect()
        server.clock.advance(4.9)
        slow.send(HEADER)
        server.clock.advance(4.9)
        assert not slow.is_aborted
        server.clock.advance(0.2)
        assert slow.is_aborted

    def test_connection_without_data_is_not_logged(self, logged: list[LogEvent]) -> None:
        server = FrontedServer()
        server.connect().lose()
        assert lines(logged) == []
        assert server.counters.items() == []
        assert (len(server.factory.pending), server.clock.getDelayedCalls(), server.port.protocols) == (0, [], {})

    def test_oldest_pending_connection_is_evicted(self) -> None:
        server = FrontedServer(max_pending=3)
        silent = [server.connect() for _ in range(2)]
        caller = call(server, HEADER)
        assert len(server.factory.pending) == 3
        third = server.connect()
        assert [peer.is_aborted for peer in (*silent, third)] == [True, False, False]
        assert server.counters.value("pending_connections_evicted") == 1
        caller.opened()
        assert len(server.factory.pending) == 2

    def test_buffered_bytes_are_bounded(self) -> None:
        """Data longer than any header is either passed on or rejected."""
        stranger = FrontedServer().connect()
        stranger.send(v2(CALLER, extra=bytes(MAX_V2 - 28))[:-1])
        assert not stranger.is_aborted
        assert stranger.protocol.wrappedProtocol is None
        stranger.send(b"\0")
        assert stranger.protocol.wrappedProtocol is not None


def test_a_call_behind_a_proxy_is_closed() -> None:
    server = FrontedServer()
    caller = call(server, HEADER).opened()
    close = b'{"version":"2","id":"%s","type":"close","seq":2,"serverseq":1,"position":"PT0S","parameters":%s}'
    caller.send(text(close % (SESSION_ID.encode(), b'{"reason":"end"}')))
    assert b'"type":"closed"' in caller.answer()
    assert isinstance(caller.protocol, ProxyProtocol)
