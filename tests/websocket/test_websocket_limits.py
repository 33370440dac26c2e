"""Limits at the socket: too many, too slow and too talkative clients are rejected or dropped."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost
from twisted.logger import LogEvent, eventAsText
from twisted.python.failure import Failure

from audiohookd.auth.keys.model import fingerprint
from audiohookd.edge.handshake_limiter import HandshakeLimiter, HandshakeLimits
from audiohookd.edge.networks import NetworkSet
from audiohookd.edge.policy import ReceiveLimits
from audiohookd.runtime.token_bucket import Rate
from audiohookd.session.quotas import Quotas
from audiohookd.session.registry import SPARE_CONNECTIONS_OF_OWNER
from audiohookd.testing import PATH, SESSION_ID
from audiohookd.websocket.protocol import REJECTED_SESSIONS_LIMIT
from audiohookd.websocket.receive_limiter import MAX_FRAGMENTS
from tests.websocket.websocket_rig import OPEN_KEY, Peer, Server, binary, frame, request_head, text, unframed

CALLER = IPv4Address("TCP", "192.0.2.1", 40_000)
STRANGER = IPv4Address("TCP", "198.51.100.1", 40_000)
PING = b'{"version":"2","id":"%s","type":"ping","seq":%d,"serverseq":%d,"position":"PT0S","parameters":{}}'


def nonce(number: int) -> str:
    return f"another-nonce-of-{number:07}"


def gated(failure: Any = "http", networks: list[str] | None = None, **options: Any) -> Server:
    """A server with a gate that is not open to all."""
    server = Server(failure)
    server.factory.limiter = HandshakeLimiter(server.clock.seconds, server.counters.count, **options)
    server.factory.limiter.allowed = None if networks is None else NetworkSet(networks)
    return server


class TestAllow:
    def test_a_stranger_is_dropped_before_he_can_say_anything(self) -> None:
        server = gated(networks=["192.0.2.0/24"])
        stranger = server.connect(STRANGER)
        assert stranger.is_aborted
        assert stranger.answer() == b""
        assert len(server.factory.pending) == 0
        stranger.lose()
        assert server.clock.getDelayedCalls() == []
        server.connect(CALLER).opened()

    def test_behind_a_proxy_he_is_told_when_the_proxy_has_named_him(self) -> None:
        server = gated(networks=["192.0.2.0/24"], hops=1)
        stranger = server.connect(CALLER)
        stranger.send(request_head(X_Forwarded_For="192.0.2.1, 198.51.100.1"))
        assert stranger.status() == b"HTTP/1.1 403 Forbidden"
        assert server.counters.value("limit_hits", "allowed_networks") == 1
        assert server.counters.value("rejections", "http-403") == 1
        server.connect(STRANGER).upgrade(X_Forwarded_For="198.51.100.1, 192.0.2.1")

    def test_a_list_that_changes_does_not_end_the_calls_that_are(self) -> None:
        server = gated(networks=["192.0.2.0/24"])
        caller = server.connect(CALLER).opened()
        server.factory.limiter.allowed = NetworkSet(["203.0.113.0/24"])
        caller.send(text(PING % (SESSION_ID.encode(), 2, 1)))
        assert b'"type":"pong"' in caller.answer()
        assert server.connect(CALLER).is_aborted


def test_the_address_of_the_client_is_logged_and_kept(logged: list[LogEvent]) -> None:
    server = gated(hops=1)
    server.connect(STRANGER).send(request_head(signed=False, X_Forwarded_For="203.0.113.9"))
    assert any(eventAsText(event).find("203.0.113.9 rejected: signature-required") >= 0 for event in logged)
    caller = server.connect(STRANGER).upgrade(X_Forwarded_For="203.0.113.10")
    assert caller.protocol._upgrade.shown()["peer"] == "203.0.113.10"


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (PATH, f"path '{PATH}'"),
        (f"{PATH}?token=secret", f"path '{PATH}' and a query of 12 characters"),
        (f"{PATH}?", f"path '{PATH}' and a query of 0 characters"),
    ],
)
def test_a_refusal_tells_what_is_to_be_compared_and_no_secret(
    target: str, shown: str, logged: list[LogEvent]
) -> None:
    """Host with its port, the path, whether there was a query, and which key; of which none is in the log."""
    server = Server()
    server.connect().send(request_head(target, Host="backend:3000", X_API_KEY="unknown"))
    (line,) = [text for event in logged if " rejected: " in (text := eventAsText(event))]
    where = f"Host 'backend:3000', {shown}, API key {fingerprint('unknown')})"
    assert line.endswith(f" rejected: api-key-unknown (session {SESSION_ID}, {where}")
    assert "unknown," not in line
    assert "token" not in line


def told(logged: list[LogEvent]) -> list[str]:
    """What stands after the address in lines about strangers."""
    found = [eventAsText(event).partition(f" {STRANGER.host} ")[2] for event in logged]
    return [line for line in found if line]


def test_the_setting_that_kept_somebody_out_is_named(logged: list[LogEvent]) -> None:
    gated(networks=["192.0.2.0/24"]).connect(STRANGER)
    for limits in (HandshakeLimits(per_address=0.1), HandshakeLimits(total=0.1)):
        server = gated(limits=limits)
        for _ in range(2):
            server.connect(STRANGER)
    assert told(logged) == [
        "dropped: not in listen.allowed_networks",
        "dropped: above limits.handshakes_per_second",
        "dropped: above limits.handshakes_per_second_total",
    ]


def test_behind_a_proxy_it_is_named_with_the_status(logged: list[LogEvent]) -> None:
    server = gated(networks=["192.0.2.0/24"], hops=1)
    server.connect(CALLER).send(request_head(X_Forwarded_For=STRANGER.host))
    assert told(logged) == ["rejected: 403 not in listen.allowed_networks"]


@pytest.mark.parametrize(
    ("head", "cause"),
    [
        (request_head(Upgrade=None), "a proxy that removes Upgrade and Connection"),
        (request_head().replace(b"HTTP/1.1", b"HTTP/1.0", 1), "nginx: proxy_http_version 1.1"),
    ],
)
def test_a_request_that_a_proxy_damaged_is_logged_with_its_likely_cause(
    head: bytes, cause: str, logged: list[LogEvent]
) -> None:
    Server().connect(STRANGER).send(head)
    (line,) = told(logged)
    assert cause in line


def test_a_slow_handshake_is_logged_with_its_setting(logged: list[LogEvent]) -> None:
    server = Server()
    server.connect(STRANGER)
    server.clock.advance(60.0)
    assert told(logged) == ["dropped: timed out (limits.handshake_timeout)"]


def test_the_authority_that_clients_know_us_by_replaces_the_host_that_a_proxy_made_up() -> None:
    server = Server()
    refused = server.connect()
    refused.send(request_head(Host="backend:3000"))
    server.clock.advance(0.5)
    assert refused.status() == b"HTTP/1.1 401 Unauthorized"
    server.factory.policy = replace(server.factory.policy, authority="audiohook.example.com")
    server.connect().upgrade(nonce=nonce(1), Host="backend:3000")


class TestHandshakes:
    def test_beyond_the_limit_a_stranger_is_not_even_listened_to(self) -> None:
        server = gated(limits=HandshakeLimits(per_address=0.1))
        first = server.connect(STRANGER)
        first.send(request_head(signed=False))
        assert server.connect(STRANGER).is_aborted
        server.clock.advance(0.5)
        assert first.status() == b"HTTP/1.1 401 Unauthorized"

    def test_behind_a_proxy_he_gets_a_status_and_no_judgement(self) -> None:
        server = gated(limits=HandshakeLimits(per_address=0.1), hops=1)
        for _ in range(2):
            stranger = server.connect(CALLER)
            stranger.send(request_head(signed=False, X_Forwarded_For="198.51.100.1"))
        assert stranger.status() == b"HTTP/1.1 429 Too Many Requests"
        assert server.counters.value("rejections", "signature-required") == 1
        assert server.counters.value("limit_hits", "handshakes-per-address") == 1

    def test_calls_do_not_count_however_many(self) -> None:
        server = gated(limits=HandshakeLimits(per_address=0.1, total=0.1))
        for number in range(8):
            server.connect(CALLER).upgrade(nonce=nonce(number))

    @pytest.mark.parametrize("failure", ["http", "disconnect"])
    def test_a_refused_request_does_count_whichever_way_it_is_told(self, failure: str) -> None:
        server = gated(failure, limits=HandshakeLimits(per_address=0.1))
        server.connect(STRANGER).send(request_head(signed=False))
        server.clock.advance(0.5)
        assert server.connect(STRANGER).is_aborted

    def test_a_flood_of_them_is_no_flood_of_the_log(self, logged: list[LogEvent]) -> None:
        server = Server(max_pending=2000)
        for _ in range(1000):
            server.connect(STRANGER).send(request_head(signed=False))
        lines = [eventAsText(event) for event in logged if "signature-required" in eventAsText(event)]
        assert 0 < len(lines) <= 20
        assert server.counters.value("rejections", "signature-required") == 1000
        server.clock.advance(60)
        server.connect(STRANGER).send(request_head(signed=False))
        assert "; 980 similar lines suppressed" in eventAsText(logged[-1])


class TestSlowness:
    @pytest.mark.parametrize("pace", [0.1, 1.0, 4.9])
    def test_a_head_that_trickles_in_has_five_seconds_in_all(self, pace: float) -> None:
        server = Server()
        peer = server.connect()
        for octet in request_head()[:20]:
            peer.send(bytes([octet]))
            if server.clock.seconds() + pace < 5.0:
                server.clock.advance(pace)
        assert not peer.is_aborted
        server.clock.advance(5.0 - server.clock.seconds())
        assert peer.is_aborted
        assert server.counters.value("limit_hits", "handshake-timeout") == 1
        peer.lose()
        assert server.clock.getDelayedCalls() == []

    def test_a_whole_head_stops_the_clock(self) -> None:
        server = Server()
        caller = server.connect().upgrade()
        server.clock.advance(9.0)
        assert not caller.is_aborted
        assert server.counters.value("limit_hits", "handshake-timeout") == 0


class TestStrangersInSessions:
    def test_have_few_places_and_the_rest_is_told_by_a_status(self) -> None:
        server = Server("disconnect")
        strangers = [server.connect() for _ in range(REJECTED_SESSIONS_LIMIT + 1)]
        for stranger in strangers:
            stranger.send(request_head(signed=False))
        server.clock.advance(0.5)
        answers = [stranger.answer() for stranger in strangers]
        assert all(answer.startswith(b"HTTP/1.1 101 ") for answer in answers[:-1])
        assert answers[-1].startswith(b"HTTP/1.1 401 ")
        assert server.counters.value("limit_hits", "strangers") == 1
        strangers[0].lose()
        another = server.connect()
        another.send(request_head(signed=False))
        server.clock.advance(0.5)
        assert another.answer().startswith(b"HTTP/1.1 101 ")


class TestConnectionsOfAKey:
    """Above its quota a key gets ``disconnect error`` in a session for a while, and then status 503."""

    def held(self, server: Server) -> list[Peer]:
        peers = []
        for number in range(2 + SPARE_CONNECTIONS_OF_OWNER):
            peers.append(server.connect())
            peers[-1].upgrade(nonce=nonce(number))
        return peers

    def test_silent_sessions_of_one_key_leave_the_connections_of_others(self) -> None:
        server = Server(max_sessions=20, quotas=Quotas(per_key=1))
        peers = self.held(server)
        beyond = server.connect()
        beyond.send(request_head(nonce=nonce(99)))
        assert beyond.status() == b"HTTP/1.1 503 Service Unavailable"
        assert server.counters.value("limit_hits", "connections-per-key") == 1
        server.connect().upgrade(signed=False, X_API_KEY=OPEN_KEY)
        peers[0].lose()
        server.connect().upgrade(nonce=nonce(100))

    def test_a_stranger_does_not_use_up_the_connections_of_a_key_that_it_names(self) -> None:
        server = Server("disconnect", max_sessions=20, quotas=Quotas(per_key=1))
        for _ in range(2 + SPARE_CONNECTIONS_OF_OWNER):
            server.connect().send(request_head(signed=False))
        server.clock.advance(0.5)
        assert len(list(server.registry)) == 2 + SPARE_CONNECTIONS_OF_OWNER
        server.connect().opened()


def talking(**paces: Rate) -> Peer:
    server = Server()
    server.factory.receive_limits = ReceiveLimits(**paces)
    return server.connect().opened()


def disconnects(peer: Peer) -> list[bytes]:
    return [message for opcode, message in peer.frames() if opcode == 1 and b'"disconnect"' in message]


class TestPaces:
    def test_a_burst_of_delayed_audio_is_accepted(self) -> None:
        """20 s in frames of 20 ms, and the call goes on."""
        peer = talking(frames=Rate(60, 60 * 30))
        peer.send(binary(b"\xff" * 320) * 1000)
        for _ in range(500):
            peer.clock.advance(0.02)
            peer.send(binary(b"\xff" * 320))
        assert disconnects(peer) == []

    def test_too_many_frames_end_the_session_and_what_still_comes_the_connection(self) -> None:
        peer = talking(frames=Rate(10, 20))
        peer.send(binary(b"\xff" * 320) * 21)
        (message,) = disconnects(peer)
        assert b'"reason":"error","info":"too many frames"' in message
        assert not peer.is_aborted
        peer.send(binary(b"\xff" * 320) * 50)
        assert not peer.is_aborted
        peer.send(binary(b"\xff" * 320))
        assert peer.is_aborted

    @pytest.mark.parametrize("control", [frame(9), frame(10), frame(9, b"x" * 125)], ids=["ping", "pong", "large"])
    def test_control_frames_have_an_allowance_of_their_own(self, control: bytes) -> None:
        peer = talking(control_frames=Rate(10, 20), frames=Rate(1000, 1000), fragments=Rate(1000, 1000))
        peer.send(control * 20)
        peer.send(binary(b"\xff" * 320) * 100)
        assert disconnects(peer) == []
        peer.send(control)
        (message,) = disconnects(peer)
        assert b'"reason":"error","info":"too many control frames"' in message
        peer.send(control * 60)
        assert peer.is_aborted

    def test_fragments_have_an_allowance_of_their_own(self) -> None:
        peer = talking(fragments=Rate(10, 20), frames=Rate(1000, 1000), control_frames=Rate(1000, 1000))
        peer.send(frame(2, fin=False) + frame(9) * 30)
        peer.send(frame(0, fin=False) * 19)
        assert disconnects(peer) == []
        peer.send(frame(0, fin=False))
        (message,) = disconnects(peer)
        assert b'"reason":"error","info":"too many fragments"' in message
        peer.send(frame(0, fin=False) * 60)
        assert peer.is_aborted

    def test_a_fragmented_message_counts_as_a_message_too(self) -> None:
        peer = talking(frames=Rate(1, 2))
        peer.send((frame(2, b"\xff" * 160, fin=False) + frame(0, b"\xff" * 160)) * 2)
        assert disconnects(peer) == []
        peer.send(frame(2, b"\xff" * 160, fin=False) + frame(0, b"\xff" * 160))
        assert b"too many frames" in disconnects(peer)[0]

    def test_a_message_in_too_many_fragments_ends_the_session(self) -> None:
        """One that never ends grew by an object for each empty fragment."""
        peer = talking()
        peer.send(frame(2, fin=False) + frame(0, fin=False) * (MAX_FRAGMENTS - 2) + frame(0, b"\xff" * 320))
        peer.send(frame(2, fin=False) + frame(0, fin=False) * (MAX_FRAGMENTS - 1))
        assert disconnects(peer) == []
        peer.send(frame(0, fin=False))
        assert b"too many fragments" in disconnects(peer)[0]
        peer.send(frame(0, fin=False))
        assert peer.is_aborted

    @pytest.mark.parametrize("size", [100, 1000])
    def test_octets_of_messages_have_an_allowance(self, size: int) -> None:
        """60 KB of hostile JSON take 11 ms of all calls' time: 50 a second took half of it."""
        peer = talking(message_bytes=Rate(1000, 3000))
        message = PING.replace(b"{}", b'{"x":"%s"}' % (b"y" * size))
        peer.send(b"".join(text(message % (SESSION_ID.encode(), number, 1)) for number in range(2, 2 + 3000 // size)))
        (last,) = disconnects(peer)
        assert b'"info":"too many message bytes"' in last

    def test_a_rate_limited_client_can_still_close(self) -> None:
        peer = talking(messages=Rate(1, 2))
        for number in range(2, 5):
            peer.send(text(PING % (SESSION_ID.encode(), number, 1)))
        assert b"too many messages" in disconnects(peer)[0]
        close = PING.replace(b'"ping"', b'"close"').replace(b"{}", b'{"reason":"error"}')
        peer.send(text(close % (SESSION_ID.encode(), 4, 2)))
        assert any(b'"type":"closed"' in message for _, message in peer.frames())

    def test_audio_does_not_use_up_the_messages(self) -> None:
        peer = talking(messages=Rate(1, 2))
        peer.send(binary(b"\xff" * 320) * 100)
        assert disconnects(peer) == []

    def test_bytes_of_audio_above_the_rate_end_the_session(self) -> None:
        """Frames of the largest size make hours of a call in seconds, and stay below the rate of frames."""
        peer = talking(frames=Rate(1000, 60_000), audio_bytes=Rate(16_000, 160_000))
        peer.send(binary(b"\xff" * 64_000) * 2)
        assert disconnects(peer) == []
        peer.send(binary(b"\xff" * 64_000))
        (message,) = disconnects(peer)
        assert b'"info":"too many audio bytes"' in message

    def test_audio_at_the_rate_goes_on(self) -> None:
        peer = talking(audio_bytes=Rate(16_000, 16_000))
        for _ in range(90):  # 18 s: no message has to come until then
            peer.send(binary(b"\xff" * 3_200))
            peer.clock.advance(0.2)
        assert disconnects(peer) == []

    @settings(deadline=None, max_examples=20)
    @given(st.integers(1, 60))
    def test_frames_beyond_the_pace_are_given_to_nobody(self, depth: int) -> None:
        server = Server()
        server.factory.receive_limits = ReceiveLimits(frames=Rate(depth, depth))
        peer = server.connect().opened()
        peer.send(binary(b"\xff" * 320) * 200)
        assert len([name for name in server.sink.names if name == "audio"]) == depth


def test_a_failure_of_tls_is_one_short_line(logged: list[LogEvent]) -> None:
    peer = Server().connect(STRANGER)
    peer.protocol.connectionLost(Failure(SSL.Error([("SSL routines", "", "http request")])))
    lines = [eventAsText(event) for event in logged]
    (line,) = [line for line in lines if "dropped" in line]
    assert line.endswith("] 198.51.100.1 dropped: TLS failed (http request)")
    assert not any("SSL routines" in line for line in lines)


def test_a_connection_that_breaks_is_nothing_to_tell_of(logged: list[LogEvent]) -> None:
    Server().connect(STRANGER).protocol.connectionLost(Failure(ConnectionLost()))
    assert [event for event in logged if "dropped" in eventAsText(event)] == []


def test_a_stranger_in_the_session_is_told_as_ever() -> None:
    server = Server("disconnect")
    stranger = server.connect()
    stranger.send(request_head(signed=False))
    server.clock.advance(0.5)
    _, _, rest = stranger.answer().partition(b"\r\n\r\n")
    assert b'"reason":"unauthorized"' in unframed(rest)[0][1]
