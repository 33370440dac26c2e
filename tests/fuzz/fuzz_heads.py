"""Fuzzes the HTTP head: an accepted head parses to exactly its lines, and only the signed request is upgraded.

The bytes are sent after TCP connect. One request was signed, and only that one may be upgraded. Autobahn gets a
request that the daemon composed, whatever the head contains.
"""

import re
from collections.abc import Iterator
from typing import Any

from autobahn.websocket.protocol import parseHttpHeader

from audiohookd.auth.signature.message_signature import REQUIRED_COMPONENTS
from audiohookd.testing import PATH
from audiohookd.websocket.handshake import HandshakeRejected, check_handshake, minimal_request
from audiohookd.websocket.http_head import MAX_HEAD, MAX_HEADERS, HeadState, RequestHead, RequestHeadValidator
from tests.websocket.handshake_clauses import ACCEPTED, REJECTED
from tests.websocket.websocket_rig import Server, request_head

_SIGNED = request_head()
_refusal = re.compile(
    rb"HTTP/1\.1 (?:(?:4[0-9][0-9]|50[35]) [A-Z][A-Za-z -]+\r\n|405 [A-Za-z ]+\r\nAllow: GET\r\n"
    rb"|426 [A-Za-z ]+\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n)\r\n"
)


def check(data: bytes) -> None:
    """Raises an AssertionError if the guard or Autobahn accepts a bad request."""
    guard = RequestHeadValidator()
    verdict = guard.feed(data)
    assert _in_pieces(data) is verdict
    assert (guard.request is not None) is (verdict is HeadState.GOOD)
    if guard.request is not None:
        _check_lines(data, guard.request)
        _check_handshake(guard.request)
    assert bool(guard.fault) is (verdict in (HeadState.BAD, HeadState.TOO_LARGE))
    _check_answer(data, verdict)


def seeds() -> Iterator[bytes]:
    """The signed request, and known attacks on other servers."""
    yield _SIGNED
    yield _SIGNED.replace(b"GET ", b"GET http://audiohook.example.com")
    yield _SIGNED.replace(b"\r\nHost", b"\r\nHOST") + b"\x82\x80\0\0\0\0"
    lines = [b"X-A: b\x85Host: c", b"X-A: b\x0bHost: c", b" folded: c", b"X-A : b", b"Host: other"]
    lines += [b"X-API-Key: other", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X_API_KEY: other", b":"]
    lines += [b"X-A: \xc3\xa3\xff", b'Sec-WebSocket-Extensions: permessage-deflate; a="b,c", d']
    for line in lines:
        yield _SIGNED[:-2] + line + b"\r\n\r\n"
    yield b"\r\n" + _SIGNED.replace(b"GET ", b"GET wss://elsewhere.example.com")
    for change in ACCEPTED.values():
        yield change(_SIGNED)
    for change, _, _ in REJECTED.values():
        yield change(_SIGNED)
    yield b"GET /?redirect=http%3A%2F%2Felsewhere HTTP/1.1\r\nHost: a\r\n\r\n"
    yield b"GET //a/../b?x#y HTTP/1.0\nHost: [::1]:x\r\n\r\n"


def _in_pieces(data: bytes) -> HeadState:
    guard, verdict = RequestHeadValidator(), HeadState.INCOMPLETE
    for at in range(0, len(data), 61):
        verdict = guard.feed(data[at : at + 61])
        if verdict is not HeadState.INCOMPLETE:
            break
    return verdict


def _check_lines(data: bytes, request: RequestHead) -> None:
    """Compares with a parser that accepts only CR LF as line break, and only space and tab as white space."""
    data = data.removeprefix(b"\r\n")
    end = data.index(b"\r\n\r\n")
    assert end <= MAX_HEAD
    first, *lines = data[:end].split(b"\r\n")
    assert len(lines) <= MAX_HEADERS
    headers: dict[bytes, list[bytes]] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        assert colon
        assert name.isascii()
        assert not re.search(rb"[\x00-\x20\x7f]", name)
        assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value)
        headers.setdefault(name.lower(), []).append(value.strip(b" \t"))
    assert f"{request.method} {request.target} HTTP/{request.version}".encode("ascii") == first
    read = {name.encode("ascii"): value.encode("latin-1") for name, value in request.headers.items()}
    assert read == {name: b", ".join(values) for name, values in headers.items()}


def _check_handshake(head: RequestHead) -> None:
    """Checks that the request for Autobahn is complete, and has only a well-formed key from the client."""
    try:
        request = check_handshake(head)
    except HandshakeRejected:
        return
    assert "transfer-encoding" not in request.headers
    assert set(request.headers.get("content-length", "0")) == {"0"}
    assert request.target.startswith("/")
    status, read, counts = parseHttpHeader(minimal_request(request))
    assert status == "GET / HTTP/1.1"
    assert set(read) == {"host", "upgrade", "connection", "sec-websocket-version", "sec-websocket-key"}
    assert set(counts.values()) == {1}
    assert re.fullmatch(r"[0-9A-Za-z+/]{22}==", read["sec-websocket-key"], re.ASCII)


def _check_answer(data: bytes, verdict: HeadState) -> None:
    server = Server()
    peer = server.connect()
    peer.send(data)
    server.clock.advance(1.0)
    answer = peer.answer()
    if verdict is HeadState.INCOMPLETE:
        assert answer == b""
    elif not answer.startswith(b"HTTP/1.1 101 "):
        assert _refusal.fullmatch(answer), answer
        assert server.counters.value("internal_errors") == 0
    else:
        assert verdict is HeadState.GOOD
        assert _signed_part(peer.protocol) == (PATH, *_EXPECTED), "upgraded a request that was not signed"
    peer.lose()


def _signed_part(protocol: Any) -> tuple[str, ...]:
    names = (name for name in REQUIRED_COMPONENTS if not name.startswith("@"))
    upgrade = protocol._upgrade
    host = re.sub(r":(?:80|443)?\Z", "", upgrade.headers["host"].lower())  # signed without default port
    return (upgrade.target, host, *(upgrade.headers[name] for name in names))


def _expected() -> tuple[str, ...]:
    _, headers, _ = parseHttpHeader(_SIGNED)
    return (headers["host"], *(headers[name] for name in REQUIRED_COMPONENTS if not name.startswith("@")))


_EXPECTED = _expected()
