"""What comes before the upgrade: what the guard lets through, Autobahn reads as exactly those lines; nobody gets in.

The bytes are what is sent after TCP connect. One request was signed, and it alone may be upgraded.
"""

import re
from collections.abc import Iterator

from autobahn.websocket.protocol import parseHttpHeader

from audiohookd.auth.signature import REQUIRED_COMPONENTS
from audiohookd.server.head import MAX_HEAD, MAX_HEADERS, Head, HeadGuard
from audiohookd.testing import PATH
from tests.server.websocket_rig import Server, request_head

_SIGNED = request_head()
_refusal = re.compile(rb"HTTP/1\.1 (4[0-9][0-9]|50[35]) [A-Z][A-Za-z -]+\r\n(Sec-WebSocket-Version: 13\r\n)?\r\n")


def check(data: bytes) -> None:
    """Raises an AssertionError when the guard was too kind, or Autobahn."""
    verdict = HeadGuard().feed(data)
    assert _in_pieces(data) is verdict
    if verdict is Head.GOOD:
        _check_lines(data)
    _check_answer(data, verdict)


def seeds() -> Iterator[bytes]:
    """The signed request, and what has been tried elsewhere."""
    yield _SIGNED
    yield _SIGNED.replace(b"GET ", b"GET http://audiohook.example.com")
    yield _SIGNED.replace(b"\r\nHost", b"\r\nHOST") + b"\x82\x80\0\0\0\0"
    lines = [b"X-A: b\x85Host: c", b"X-A: b\x0bHost: c", b" folded: c", b"X-A : b", b"Host: other"]
    lines += [b"X-API-Key: other", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X_API_KEY: other", b":"]
    for line in lines:
        yield _SIGNED[:-2] + line + b"\r\n\r\n"
    yield b"GET /?redirect=http%3A%2F%2Felsewhere HTTP/1.1\r\nHost: a\r\n\r\n"
    yield b"GET //a/../b?x#y HTTP/1.0\nHost: [::1]:x\r\n\r\n"


def _in_pieces(data: bytes) -> Head:
    guard, verdict = HeadGuard(), Head.INCOMPLETE
    for at in range(0, len(data), 61):
        verdict = guard.feed(data[at : at + 61])
        if verdict is not Head.INCOMPLETE:
            break
    return verdict


def _check_lines(data: bytes) -> None:
    """The same lines, by a parser that knows no line break but CR LF and no white space but space and tab."""
    end = data.index(b"\r\n\r\n")
    first, *lines = data[:end].decode("ascii").split("\r\n")
    assert len(lines) <= MAX_HEADERS
    assert end <= MAX_HEAD
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers.setdefault(name.lower(), []).append(value.strip(" \t"))
    status, read, counts = parseHttpHeader(data[: end + 4])
    assert status == first
    assert read == {name: ", ".join(values) for name, values in headers.items()}
    assert counts == {name: len(values) for name, values in headers.items()}
    assert "transfer-encoding" not in read
    assert set(headers.get("content-length", ())) <= {"0"}


def _check_answer(data: bytes, verdict: Head) -> None:
    server = Server()
    peer = server.connect()
    peer.send(data)
    server.clock.advance(1.0)
    answer = peer.answer()
    if verdict is Head.INCOMPLETE:
        assert answer == b""
    elif not answer.startswith(b"HTTP/1.1 101 "):
        assert _refusal.fullmatch(answer), answer
        assert server.counters.value("internal_errors") == 0
    else:
        assert verdict is Head.GOOD
        assert _signed_part(peer.protocol) == (PATH, *_EXPECTED), "this was not signed"
    peer.lose()


def _signed_part(protocol: object) -> tuple[str, ...]:
    names = (name for name in REQUIRED_COMPONENTS if not name.startswith("@"))
    headers = protocol.http_headers  # type: ignore[attr-defined]
    target = protocol.http_request_uri  # type: ignore[attr-defined]
    return (target, headers["host"].lower(), *(headers[name] for name in names))


def _expected() -> tuple[str, ...]:
    _, headers, _ = parseHttpHeader(_SIGNED)
    return (headers["host"], *(headers[name] for name in REQUIRED_COMPONENTS if not name.startswith("@")))


_EXPECTED = _expected()
