"""A signed request that is changed on its way through nginx, HAProxy or Caddy is not accepted as another request.

Each request is signed, then changed as an attacker without the secret could. Either proxy or daemon rejects it, or
the daemon receives exactly the signed request. The handshake limits are off; the last hop is trusted.
"""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from audiohookd.auth.signature.message_signature import REQUIRED_COMPONENTS
from tests.functional.caller import API_KEY, PATH, Caller, signed_head
from tests.functional.front_proxies import PROGRAMS, Proxy, Window
from tests.functional.place import Place
from tests.stores.ports import free_ports

OTHER = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
#: A text that is not in a signed head. It stands for the end of the headers.
END = b"\r\n\r\n"
#: Concurrent requests: each rejection takes half a second.
AT_ONCE = 24


class Site(NamedTuple):
    """A proxy in front of a daemon."""

    name: str
    port: int
    window: Window
    place: Place


def with_line(line: bytes) -> Callable[[bytes], bytes]:
    """Adds a header before the others, so that it is the first with its name."""
    return lambda head: head.replace(b"\r\n", b"\r\n" + line + b"\r\n", 1)


def with_last_line(line: bytes) -> Callable[[bytes], bytes]:
    return lambda head: head.replace(END, b"\r\n" + line + END, 1)


def with_target(target: bytes) -> Callable[[bytes], bytes]:
    return lambda head: head.replace(b"GET " + PATH.encode(), b"GET " + target, 1)


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda head: head.replace(old, new)


def upper_case(head: bytes) -> bytes:
    first, *lines = head.removesuffix(END).split(b"\r\n")
    parts = (line.partition(b": ") for line in lines)
    return b"\r\n".join([first, *(name.upper() + b": " + value for name, _, value in parts)]) + END


#: Changes without a meaning: the request must be accepted.
HONEST: dict[str, Callable[[bytes], bytes]] = {
    "as it was signed": lambda head: head,
    "names in upper case": upper_case,
    "a forged X-Forwarded-For": with_line(b"X-Forwarded-For: 6.6.6.6"),
    "a forged X-Forwarded-Host": with_line(b"X-Forwarded-Host: elsewhere.example.com"),
    "an underscore name beside": with_line(b"x_api_key: c3RyYW5nZXI="),
    "a cookie": with_last_line(b"Cookie: a=b"),
}
SESSION = f"audiohook-session-id: {OTHER}".encode()
TARGET = PATH.encode()
CHUNKED, NO_CHUNK = b"Transfer-Encoding: chunked", b"0" + END
ATTACKS: dict[str, Callable[[bytes], bytes]] = {
    **{
        f"octet 0x{octet:02x} before a header {where}": how(b"X-A: b" + bytes([octet]) + SESSION)
        for octet in (0x00, 0x0A, 0x0B, 0x0C, 0x0D, 0x1C, 0x1D, 0x1E, 0x7F, 0x85, 0xA0, 0xFF)
        for where, how in (("first", with_line), ("last", with_last_line))
    },
    "an octet in the target": with_target(TARGET + b"?a\x85b"),
    "another API key first": with_line(b"X-API-KEY: c3RyYW5nZXI="),
    "another API key last": with_last_line(b"X-API-KEY: c3RyYW5nZXI="),
    "another session first": with_line(SESSION),
    "another session last": with_last_line(SESSION),
    "another signature first": with_line(b"Signature: sig1=:AAAA:"),
    "another signature last": with_last_line(b"Signature: sig2=:AAAA:"),
    "another input last": with_last_line(b'Signature-Input: sig1=();created=1;keyid="k";nonce="n"'),
    "two hosts, other first": with_line(b"Host: elsewhere.example.com"),
    "two hosts, other last": with_last_line(b"Host: elsewhere.example.com"),
    "another host": replaced(b"host: 127", b"host: 128"),
    "a space before the colon": with_line(b"audiohook-session-id : " + OTHER.encode()),
    "a tab before the colon": with_line(b"audiohook-session-id\t: " + OTHER.encode()),
    "a space before the colon instead": replaced(b"audiohook-session-id: ", b"audiohook-session-id : "),
    "a folded line first": with_line(b"X-A: b\r\n " + SESSION),
    "a folded line last": with_last_line(b"X-A: b\r\n\t" + SESSION),
    "a fold in what is signed": replaced(b"x-api-key: " + API_KEY.encode(), b"x-api-key:\r\n " + API_KEY.encode()),
    "an underscore name instead": replaced(b"audiohook-session-id", b"audiohook_session_id"),
    "an underscore name last": with_last_line(b"audiohook_session_id: " + OTHER.encode()),
    "no colon": with_line(b"audiohook-session-id"),
    "no name": with_line(b": b"),
    "Connection lists what is signed": replaced(b"connection: Upgrade", b"connection: Upgrade, audiohook-session-id"),
    "Connection lists the key": with_last_line(b"Connection: close, x-api-key"),
    "a body by length": lambda head: with_last_line(b"Content-Length: 27")(head) + b"GET / HTTP/1.1\r\nHost: a" + END,
    "an empty body": with_last_line(b"Content-Length: 0"),
    "two lengths": lambda head: with_last_line(b"Content-Length: 0\r\nContent-Length: 30")(head) + bytes(30),
    "a body in chunks": lambda head: with_last_line(CHUNKED)(head) + b"5\r\nhello\r\n" + NO_CHUNK,
    "chunks by an odd name": lambda head: with_last_line(CHUNKED.replace(b": ", b": \x0b"))(head) + NO_CHUNK,
    "length and chunks": lambda head: with_last_line(b"Content-Length: 5\r\n" + CHUNKED)(head) + NO_CHUNK,
    "absolute form": with_target(b"http://127.0.0.1" + TARGET),
    "absolute form, elsewhere": with_target(b"http://elsewhere.example.com" + TARGET),
    "two slashes": with_target(b"/" + TARGET),
    "two slashes inside": with_target(TARGET.replace(b"/ws", b"//ws")),
    "an encoded slash": with_target(TARGET.replace(b"/ws", b"%2Fws")),
    "an encoded letter": with_target(TARGET.replace(b"/ws", b"/%77s")),
    "up and down": with_target(TARGET + b"/../ws"),
    "a dot": with_target(TARGET.replace(b"/ws", b"/./ws")),
    "encoded dots": with_target(TARGET + b"/%2e%2e/ws"),
    "a backslash": with_target(TARGET.replace(b"/ws", b"\\ws")),
    "a query": with_target(TARGET + b"?a=b"),
    "an empty query": with_target(TARGET + b"?"),
    "a fragment": with_target(TARGET + b"#a"),
    "a parameter": with_target(TARGET + b";a"),
    "HTTP 1.0": replaced(b" HTTP/1.1", b" HTTP/1.0"),
    "HTTP 0.9": replaced(b" HTTP/1.1", b""),
    "another method": lambda head: b"POST" + head[3:],
    "a method in small letters": lambda head: b"get" + head[3:],
    "lines without CR": lambda head: head.replace(b"\r\n", b"\n"),
    "a line before": lambda head: b"\r\n" + head,
    "no upgrade": replaced(b"upgrade: websocket\r\n", b""),
    "another request before": lambda head: b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" + head,
    "a head without an end": lambda head: head.replace(END, b"\r\n" + b"X-A: b\r\n" * 3_000),
}


@pytest.fixture(scope="module")
def daemon_place(bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:  # noqa: A002
    there = Place(bin, tmp_path_factory.mktemp("smuggling"))
    endpoint = f"tcp:{there.port}:interface=127.0.0.1"
    limits = {"handshakes_per_second": 0, "handshakes_per_second_total": 0}
    there.write(listen={"endpoint": endpoint, "trusted_hops": 1}, limits=limits)
    with there.daemon():
        yield there


@pytest.fixture(scope="module", params=PROGRAMS)
def site(request: Any, daemon_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    front, behind = free_ports(2)
    directory = tmp_path_factory.mktemp("proxy") / "place"
    window = Window(behind, daemon_place.port)
    with window, Proxy(PROGRAMS[request.param], directory, front, behind):
        yield Site(request.param, front, window, daemon_place)


class Outcome(NamedTuple):
    """The result of one request: the status, None without a response; its session; and the headers as signed."""

    status: int | None
    session: str
    signed: dict[str, str]


def ask(site: Site, change: Callable[[bytes], bytes]) -> Outcome:
    """Signs a request, changes it, and sends it."""
    session = str(uuid4())
    head = signed_head(site.port, session)
    lines = (line.partition(": ") for line in head.decode().split("\r\n")[1:])
    signed = {name: value for name, _, value in lines if name in REQUIRED_COMPONENTS}
    signed |= {"@request-target": PATH, "@authority": f"127.0.0.1:{site.port}"}
    with socket.create_connection(("127.0.0.1", site.port), 10) as connection:
        return Outcome(_status(connection, change(head)), session, signed)


def _status(connection: socket.socket, request: bytes) -> int | None:
    """The status of the last response: another request may precede the one under test."""
    answer = b""
    connection.settimeout(3)
    try:
        connection.sendall(request)
        while b" 101 " not in answer and (data := connection.recv(4096)):
            answer += data
    except OSError:
        answer += b""  # rejected before the end of the request, or no more data
    statuses = [int(line[9:12]) for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.")]
    return statuses[-1] if statuses else None


def asked_for(head: bytes) -> dict[str, str]:
    """The request that the daemon received, parsed strictly. Repeated headers are joined with a comma."""
    first, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = ", ".join(filter(None, [headers.get(name.lower(), ""), value.strip(" \t")]))
    found = {name: headers.get(name, "") for name in REQUIRED_COMPONENTS if not name.startswith("@")}
    return found | {"@request-target": first.split(" ")[1], "@authority": headers.get("host", "").lower()}


def test_equivalent_changes_are_accepted(site: Site) -> None:
    outcomes = {name: ask(site, change) for name, change in HONEST.items()}
    assert {name: outcome.status for name, outcome in outcomes.items()} == dict.fromkeys(HONEST, 101)


def test_a_query_is_passed_on_as_it_was_signed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    target = f"{PATH}?a=//b/%2F%7e/../c&d=+%20;e"
    monkeypatch.setattr("caller.PATH", target)
    with Caller(site.port) as caller:
        assert caller.upgrade() == 101


def test_a_client_cannot_spoof_its_address_in_headers(site: Site) -> None:
    before = len(list(site.place.spool.glob("ready/*/*.json")))
    with Caller(site.port, _from_elsewhere(site.port)) as caller:
        caller.session = caller._header("audiohook-session-id")
        assert caller.open()["type"] == "opened"
        caller.audio(bytes(1600))
        assert caller.close()["type"] == "closed"
    sidecars = site.place.sidecars(before + 1)
    (sidecar,) = (sidecar for sidecar in sidecars if sidecar["recording"]["session"] == caller.session)
    (about,) = (entry["data"] for entry in sidecar["body"] if entry["type"] == "httpInfo")
    assert about["peer"] == "127.0.0.1"


def _from_elsewhere(port: int) -> bytes:
    return HONEST["a forged X-Forwarded-For"](signed_head(port, str(uuid4())))


def test_unsigned_requests_are_not_accepted(site: Site) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        answers = threads.map(lambda change: ask(site, change), ATTACKS.values())
        outcomes = dict(zip(ATTACKS, answers, strict=True))
    admitted = {name: outcome for name, outcome in outcomes.items() if outcome.status == 101}
    wrong = {
        name: asked_for(site.window.head_with(outcome.session))
        for name, outcome in admitted.items()
        if asked_for(site.window.head_with(outcome.session)) != outcome.signed
    }
    print(f"\n{site.name}: {len(outcomes) - len(admitted)} refused; as they were signed: {', '.join(admitted)}")
    assert wrong == {}
    assert len(admitted) <= len(ATTACKS) // 3
    assert all(site.window.head_with(outcome.session).count(b"\r\n") > 5 for outcome in admitted.values())
