"""The opening handshake accepts, ignores and rejects as the clauses of the RFCs require."""

import time

import pytest
from twisted.logger import LogEvent, eventAsText

from audiohookd.edge.handshake_limiter import HandshakeLimiter
from audiohookd.websocket.handshake import HandshakeRejected, check_handshake
from audiohookd.websocket.http_head import RequestHead
from tests.websocket.handshake_clauses import ACCEPTED, REJECTED, Rejected, key_of
from tests.websocket.websocket_rig import OPEN, Server, request_head, text


@pytest.mark.parametrize("clause", ACCEPTED)
def test_a_handshake_that_the_rfcs_allow_opens_a_session(clause: str) -> None:
    server = Server()
    peer = server.connect()
    peer.send(ACCEPTED[clause](request_head()))
    answer = peer.answer()
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nSec-WebSocket-Extensions:" not in answer
    assert b"\r\nSec-WebSocket-Protocol:" not in answer
    peer.send(text(OPEN))
    assert server.counters.value("sessions") == 1


@pytest.mark.parametrize("clause", REJECTED)
def test_a_handshake_that_the_rfcs_forbid_is_rejected_and_the_log_says_why(
    clause: str, logged: list[LogEvent]
) -> None:
    case = REJECTED[clause]
    peer = Server().connect()
    peer.send(case.change(request_head()))
    assert peer.answer().startswith(b"HTTP/1.1 %d " % case.status)
    assert peer.is_closed
    (line,) = (text for text in map(eventAsText, logged) if "rejected" in text)
    assert f"rejected: {case.status} " in line
    assert case.logged in line


@pytest.mark.parametrize("clause", [name for name, (_, status, _) in REJECTED.items() if status == 426])
def test_426_says_what_to_ask_for(clause: str) -> None:
    peer = Server().connect()
    peer.send(REJECTED[clause].change(request_head()))
    headers = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    assert peer.answer() == b"HTTP/1.1 426 Upgrade Required\r\n" + headers + b"\r\n"


def test_405_says_which_method_is_allowed() -> None:
    peer = Server().connect()
    peer.send(REJECTED["9110-9.1 another method"].change(request_head()))
    assert peer.answer() == b"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\n\r\n"


def test_the_accept_value_belongs_to_the_key_of_the_request() -> None:
    peer = Server().connect()
    peer.send(request_head(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ=="))  # the example of RFC 6455, section 1.3
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in peer.answer()


@pytest.mark.parametrize(
    ("value", "recorded"),
    [("S\u00e3o".encode(), "S\u00e3o"), (b"S\xe3o", "S\u00e3o"), (b"plain", "plain"), (b"\x85\xa0x", "\x85\xa0x")],
)
def test_obs_text_of_a_recorded_header_is_text_in_the_sidecar(value: bytes, recorded: str) -> None:
    server = Server()
    peer = server.connect()
    peer.send(request_head().replace(b"GenesysCloud-AudioHook-Client", value))
    assert peer.protocol._upgrade.shown()["headers"]["user-agent"] == recorded


@pytest.mark.parametrize("name", ["Audiohook-Session-Id", "Audiohook-Organization-Id", "Audiohook-Correlation-Id"])
@pytest.mark.parametrize("around", [b"\xa0%b", b"%b\x85", b"\xef\xbb\xbf%b"], ids=["nbsp", "nel", "bom"])
def test_obs_text_around_an_identifier_is_not_white_space(name: str, around: bytes, logged: list[LogEvent]) -> None:
    peer = Server().connect()
    head = request_head()
    value = next(line for line in head.split(b"\r\n") if line.startswith(name.encode())).partition(b": ")[2]
    peer.send(head.replace(b": " + value, b": " + around % value, 1))
    assert peer.status() == b"HTTP/1.1 400 Bad Request"
    assert any(f"header '{name}'" in eventAsText(event) for event in logged)


@pytest.mark.parametrize("name", ["X-API-KEY", "Signature", "Signature-Input"])
def test_obs_text_in_a_credential_is_rejected_as_any_wrong_one(name: str) -> None:
    server = Server()
    peer = server.connect()
    peer.send(request_head().replace(name.encode() + b": ", name.encode() + b": \xc3\xa9", 1))
    server.clock.advance(0.5)
    assert peer.status() == b"HTTP/1.1 401 Unauthorized"


def test_a_proxy_s_addresses_are_found_behind_an_empty_line_and_obs_text() -> None:
    server = Server()
    server.factory.limiter = HandshakeLimiter(server.clock.seconds, server.counters.count, hops=1)
    peer = server.connect()
    peer.send(b"\r\n" + request_head(X_Forwarded_For="192.0.2.9").replace(b"\r\n", b"\r\nX-A: \xff\r\n", 1))
    assert peer.answer().startswith(b"HTTP/1.1 101 ")
    assert peer.protocol._upgrade.peer == "192.0.2.9"


@pytest.mark.parametrize(
    "value",
    [
        "a" * 16_000,
        "," * 16_000,
        "a;" * 8_000,
        'a="' + "b" * 16_000,
        "a; b=" * 3_000,
        " " * 16_000 + "!",
        '"\\' * 8_000,
    ],
)
def test_a_long_malformed_header_costs_no_more_than_a_look(value: str) -> None:
    headers = {
        "host": "a",
        "upgrade": "websocket",
        "connection": "upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": "x3JJHMbDL1EzLkh9GBhXDw==",
        "sec-websocket-extensions": value + "\xff",
    }
    begun = time.perf_counter()
    with pytest.raises(HandshakeRejected):
        check_handshake(RequestHead("GET", "/", "1.1", headers))
    with pytest.raises(HandshakeRejected):
        check_handshake(RequestHead("GET", f"http://{value}", "1.1", headers))
    assert time.perf_counter() - begun < 0.1


def test_a_representation_shows_no_header() -> None:
    assert "secret" not in repr(RequestHead("GET", "/?secret", "1.1", {"x-api-key": "secret"}))


def test_the_tables_name_a_clause_each() -> None:
    for clause in (*ACCEPTED, *REJECTED):
        rfc, _, section = clause.partition(" ")[0].partition("-")
        assert rfc in {"6455", "7692", "9110", "9112"}
        assert section[0].isdigit()
    assert all(isinstance(case, Rejected) for case in REJECTED.values())
    assert key_of(request_head()) == b"x3JJHMbDL1EzLkh9GBhXDw=="
