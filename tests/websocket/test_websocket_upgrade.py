"""The upgrade: accepted requests, rejected requests, and what a rejection does not reveal."""

from typing import Any

import pytest
import txaio
from twisted.internet.address import UNIXAddress
from twisted.logger import LogEvent, eventAsText

from audiohookd.edge.policy import HandshakePolicy
from audiohookd.session.registry import SPARE_CONNECTIONS
from audiohookd.testing import SESSION_ID
from tests.websocket.websocket_rig import (
    API_KEY,
    OPEN,
    OPEN_KEY,
    SECRET,
    Server,
    binary,
    request_head,
    text,
    unframed,
)


def test_an_authentic_request_is_upgraded_and_becomes_a_session() -> None:
    server = Server()
    peer = server.connect()
    peer.send(request_head())
    answer = peer.answer()
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"Sec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n" in answer
    assert server.counters.value("connections") == 1
    peer.send(text(OPEN))
    assert server.counters.value("sessions") == 1
    assert server.sink.names[0] == "opened"


def test_nothing_tells_what_software_this_is() -> None:
    peer = Server().connect()
    peer.send(request_head())
    answer = peer.answer().lower()
    assert b"server:" not in answer
    assert b"autobahn" not in answer


def test_compression_and_subprotocols_are_not_taken() -> None:
    offer = "permessage-deflate; client_max_window_bits"
    peer = Server().connect()
    peer.send(request_head(Sec_WebSocket_Extensions=offer, Sec_WebSocket_Protocol="x"))
    answer = peer.answer().lower()
    assert answer.startswith(b"http/1.1 101 ")
    assert b"sec-websocket-extensions" not in answer
    assert b"sec-websocket-protocol" not in answer


def test_an_unsigned_request_is_upgraded_when_its_key_has_no_secret() -> None:
    Server().connect().upgrade(signed=False, X_API_KEY=OPEN_KEY)


@pytest.mark.parametrize("first", [True, False])
def test_an_intermediary_may_sign_the_request_too(first: bool) -> None:
    edge = b'edge=("@authority");created=1;keyid="e";alg="ed25519"'
    other = {b"Signature-Input: ": edge, b"Signature: ": b"edge=:AA==:"}
    head = request_head()
    for name, value in other.items():
        line = name + value + b"\r\n"
        head = head.replace(name, line + name) if first else head.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n")
    peer = Server().connect()
    peer.send(head)
    assert peer.answer().startswith(b"HTTP/1.1 101 ")


def test_a_head_in_single_bytes_with_the_first_message_at_its_heels() -> None:
    peer = Server().connect()
    for octet in request_head()[:-1]:
        peer.send(bytes([octet]))
    peer.send(b"\n" + text(OPEN))
    assert b'"type":"opened"' in peer.answer()


def test_a_proxy_may_connect_through_a_unix_socket() -> None:
    server = Server()
    peer = server.connect(UNIXAddress(None))
    peer.upgrade().send(text(OPEN))
    assert server.counters.value("sessions") == 1


UNAUTHENTIC: dict[str, dict[str, Any]] = {
    "unsigned": {"signed": False},
    "unknown key": {"signed": False, "X_API_KEY": "unknown"},
    "no key": {"signed": False, "X_API_KEY": None},
    "tampered": {"Audiohook_Correlation_Id": SESSION_ID},
    "malformed": {"Signature": "sig1=:AA:"},
    "no structured field": {"Signature_Input": "((("},
}


@pytest.mark.parametrize("changed", UNAUTHENTIC.values(), ids=UNAUTHENTIC)
def test_every_refusal_takes_the_same_time_and_says_the_same(changed: dict[str, Any]) -> None:
    server = Server()
    peer = server.connect()
    peer.send(request_head(**changed))
    server.clock.advance(0.499)
    assert peer.answer() == b""
    assert not peer.is_closed
    server.clock.advance(0.001)
    assert peer.status() == b"HTTP/1.1 401 Unauthorized"
    assert peer.is_closed
    peer.lose()
    assert server.clock.getDelayedCalls() == []
    assert server.counters.value("connections") == 0
    assert [(name, count) for name, _, count in server.counters.items()] == [("rejections", 1)]


def test_a_request_works_once() -> None:
    server = Server()
    server.connect().upgrade()
    again = server.connect()
    again.send(request_head())
    server.clock.advance(0.5)
    assert again.status() == b"HTTP/1.1 401 Unauthorized"
    assert server.counters.value("rejections", "replayed") == 1


def test_a_rejection_comes_in_the_session_if_configured() -> None:
    server = Server("disconnect")
    peer = server.connect()
    peer.send(request_head(signed=False))
    server.clock.advance(0.499)
    assert peer.answer() == b""
    server.clock.advance(0.001)
    head, _, rest = peer.answer().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    ((opcode, message),) = unframed(rest)
    assert opcode == 1
    assert b'"type":"disconnect","seq":1,"clientseq":0,"parameters":{"reason":"unauthorized"}' in message
    peer.send(text(OPEN) + binary(b"\xff" * 320))
    assert peer.answer() == b""
    assert server.sink.calls == []


@pytest.mark.parametrize("failure", ["http", "disconnect"])
def test_a_client_that_hangs_up_before_the_rejection_leaves_nothing(failure: str) -> None:
    server = Server(failure)
    peer = server.connect()
    peer.send(request_head(signed=False))
    peer.lose()
    assert server.clock.getDelayedCalls() == []
    server.clock.advance(1.0)
    assert peer.answer() == b""
    assert list(server.registry) == []


def test_nobody_may_speak_before_our_answer() -> None:
    server = Server()
    peer = server.connect()
    peer.send(request_head(signed=False))
    peer.send(request_head(nonce="another-nonce-of-24-char"))
    server.clock.advance(0.5)
    assert peer.status() == b"HTTP/1.1 401 Unauthorized"
    peer.send(request_head(nonce="another-nonce-of-24-char"))
    assert peer.answer() == b""
    assert server.counters.value("connections") == 0


def test_data_after_the_end_is_not_kept() -> None:
    peer = Server().connect()
    peer.send(request_head("/nowhere"))
    for _ in range(100):
        peer.send(b"x" * 65_536)
    assert len(peer.protocol.data) < 65_536


REFUSED = {
    "no route": (request_head("/nowhere"), b"404 Not Found"),
    "the whole URL, no route": (request_head("http://audiohook.example.com/nowhere"), b"404 Not Found"),
    "no session": (request_head(Audiohook_Session_Id=None), b"400 Bad Request"),
    "session twice": (request_head(Audiohook_Session_Id=f"{SESSION_ID}, {SESSION_ID}"), b"400 Bad Request"),
    "organization": (request_head(Audiohook_Organization_Id="acme"), b"400 Bad Request"),
    "browser": (request_head(Origin="https://audiohook.example.com"), b"403 Forbidden"),
    "null origin": (request_head(Origin="null"), b"403 Forbidden"),
    "strange origin": (request_head(Origin="nonsense"), b"403 Forbidden"),
    "key": (request_head(Sec_WebSocket_Key="<script>"), b"400 Bad Request"),
    "old HTTP": (request_head().replace(b"HTTP/1.1", b"HTTP/1.0", 1), b"505 HTTP Version Not Supported"),
    "smuggled": (request_head(X_A="foo\x0bX-API-KEY: bar"), b"400 Bad Request"),
    "too large": (request_head(X_A="a" * 16_384), b"431 Request Header Fields Too Large"),
}


@pytest.mark.parametrize(("head", "status"), REFUSED.values(), ids=REFUSED)
def test_a_request_that_is_none_gets_its_status_and_no_explanation(head: bytes, status: bytes) -> None:
    server = Server()
    peer = server.connect()
    peer.send(head)
    assert peer.status() == b"HTTP/1.1 " + status
    assert peer.is_closed
    assert server.counters.value("rejections", f"http-{int(status[:3])}") == 1
    assert server.counters.value("internal_errors") == 0


def test_a_query_with_redirect_does_not_redirect() -> None:
    peer = Server().connect()
    peer.send(request_head("/?redirect=https%3A%2F%2Fevil.example", Upgrade=None))
    answer = peer.answer()
    assert answer.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert b"evil" not in answer


def nonce(number: int) -> str:
    return f"another-nonce-of-{number:07}"


def test_beyond_all_bounds_an_upgrade_is_refused() -> None:
    server = Server(max_sessions=1)
    peers = [server.connect().upgrade(nonce=nonce(number)) for number in range(2 + SPARE_CONNECTIONS)]
    peer = server.connect()
    peer.send(request_head())
    assert peer.status() == b"HTTP/1.1 503 Service Unavailable"
    peers[0].lose()
    server.connect().upgrade()


def test_a_silent_connection_is_evicted_for_a_new_one() -> None:
    server = Server(max_pending=3)
    called = server.connect().upgrade(nonce=nonce(1))
    first, *others = [server.connect() for _ in range(3)]
    assert not first.is_aborted
    server.connect().upgrade()
    assert first.is_aborted
    assert not any(peer.is_aborted for peer in (called, *others))
    assert server.counters.value("pending_connections_evicted") == 1
    first.lose()
    server.connect()
    assert server.counters.value("pending_connections_evicted") == 1


def test_a_client_that_waits_for_a_rejection_is_pending_and_leaves_nothing() -> None:
    server = Server(max_pending=1)
    stranger = server.connect()
    stranger.send(request_head(signed=False))
    caller = server.connect().upgrade()
    assert stranger.is_aborted
    stranger.lose()
    caller.lose()
    assert server.clock.getDelayedCalls() == []
    assert len(server.factory.pending) == 0


def test_an_error_of_our_own_is_not_told_to_the_peer(logged: list[LogEvent]) -> None:
    class Broken:
        def authenticate(self, *_: Any) -> Any:
            raise ZeroDivisionError("the secret of the universe")

    server = Server()
    server.factory.policy = HandshakePolicy(Broken())  # type: ignore[arg-type]
    peer = server.connect()
    peer.send(request_head())
    assert peer.status() == b"HTTP/1.1 500 Internal Server Error"
    assert any("secret of the universe" in eventAsText(event) for event in logged)
    assert server.counters.value("internal_errors") == 1


def test_neither_key_nor_signature_nor_secret_is_ever_logged(logged: list[LogEvent]) -> None:
    server = Server()
    server.connect().opened().lose()
    for changed in UNAUTHENTIC.values():
        server.connect().send(request_head(**changed))
    for head, _ in REFUSED.values():
        server.connect().send(head)
    server.clock.advance(1.0)
    lines = "\n".join(eventAsText(event) for event in logged)
    assert SESSION_ID in lines
    signature = sign_of(request_head())
    for hidden in (API_KEY, SECRET.decode(), signature):
        assert hidden not in lines


def sign_of(head: bytes) -> str:
    return next(line.split(":")[2] for line in head.decode().split("\r\n") if line.startswith("Signature:"))


def test_autobahn_does_not_log_requests_even_when_all_of_it_shall_be_logged(logged: list[LogEvent]) -> None:
    txaio.set_global_log_level("trace")
    try:
        Server().connect().opened().lose()
    finally:
        txaio.set_global_log_level("info")
    assert API_KEY not in "\n".join(eventAsText(event) for event in logged)
