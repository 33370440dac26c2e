"""The driver on top of Autobahn: bytes of TCP in, bytes of TCP out."""

import struct
from typing import Any

import pytest
import txaio
from hypothesis import given
from hypothesis import strategies as st
from server_rig import watched_by
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, eventAsText, formatEvent
from twisted.python.failure import Failure

from audiohookd.auth.authenticator import Authenticator
from audiohookd.auth.keys import Keys
from audiohookd.auth.replay import MemoryReplayStore, replay_window
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature import CLOCK_SKEW, MAX_AGE, sign
from audiohookd.observe.counters import Counters
from audiohookd.protocol.codec import MAX_RECEIVED
from audiohookd.protocol.timers import Timers
from audiohookd.server.connection import Shared
from audiohookd.server.registry import Registry
from audiohookd.server.websocket import LINGER_TIME, UNREAD_LIMIT, AudioHookServerFactory, Door
from audiohookd.testing import CORRELATION_ID, ORGANIZATION_ID, PATH, SESSION_ID, START, CapturingSink, clock_at_start

API_KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
SECRET = b"MySuperSecretKeyTellNoOne-1!2@3#4$5"
OPEN_KEY = "b3Blbg=="
MASK = b"\x37\xfa\x21\x3d"

OPEN = (
    b'{"version":"2","id":"%s","type":"open","seq":1,"serverseq":0,"position":"PT0S","parameters":{'
    b'"organizationId":"%s","conversationId":"090eaa2f-72fa-480a-83e0-8667ff89c0ec",'
    b'"participant":{"id":"883efee8-3d6c-4537-b500-6d7ca4b92fa0","ani":"","aniName":"","dnis":""},'
    b'"media":[{"type":"audio","format":"PCMU","channels":["external","internal"],"rate":8000}]}}'
) % (SESSION_ID.encode(), ORGANIZATION_ID.encode())


def request_head(
    target: str = PATH, *, signed: bool = True, nonce: str = "VGhpc0lzQVVuaXF1ZU5vbmNl", **changed: Any
) -> bytes:
    """An upgrade request; ``changed`` headers are replaced, or left out when None."""
    headers = {
        "Host": "audiohook.example.com",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==",
        "User-Agent": "GenesysCloud-AudioHook-Client",
        "Audiohook-Organization-Id": ORGANIZATION_ID,
        "Audiohook-Session-Id": SESSION_ID,
        "Audiohook-Correlation-Id": CORRELATION_ID,
        "X-API-KEY": API_KEY,
    }
    if signed:
        request = UpgradeRequest(target, {name.lower(): value for name, value in headers.items()})
        fields = sign(request, SECRET, created=int(START), nonce=nonce, expires=int(START) + 30)
        headers |= {"Signature-Input": fields.signature_input, "Signature": fields.signature}
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"GET {target} HTTP/1.1", *lines, "", ""]).encode()


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True) -> bytes:
    size = len(payload)
    first = opcode | (0x80 if fin else 0)
    flag = 0x80 if masked else 0
    if size < 126:
        head = bytes([first, flag | size])
    elif size < 65_536:
        head = bytes([first, flag | 126]) + struct.pack("!H", size)
    else:
        head = bytes([first, flag | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    key = (MASK * (size // 4 + 1))[:size]
    scrambled = (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)
    return head + MASK + scrambled


def text(data: bytes) -> bytes:
    return frame(1, data)


def binary(data: bytes) -> bytes:
    return frame(2, data)


def unframed(data: bytes) -> list[tuple[int, bytes]]:
    """The frames of a server: opcode and payload."""
    frames = []
    while data:
        opcode, size = data[0] & 0x0F, data[1]
        assert size < 128, "masked"
        offset = 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size = int.from_bytes(data[2 : 2 + width])
            offset += width
        frames.append((opcode, data[offset : offset + size]))
        data = data[offset + size :]
    return frames


class Server:
    """A listening port without a socket."""

    def __init__(self, failure: Any = "http", *, max_connections: int = 100, **options: Any) -> None:
        self.clock = clock_at_start()
        self.sink = CapturingSink()
        self.counters = Counters()
        self.registry = Registry(self.clock, 10, 60.0)
        shared = Shared(self.clock, Timers(), self.registry, self.counters, {PATH: (watched_by(self.sink),)})
        keys = Keys({API_KEY: SECRET, OPEN_KEY: b""})
        self.authenticator = Authenticator(keys, MemoryReplayStore(replay_window(MAX_AGE, CLOCK_SKEW)))
        door = Door(self.authenticator, failure)
        # Autobahn keeps its own timers on the global reactor, which nobody runs here: none of them.
        self.factory = AudioHookServerFactory(shared, door, max_connections, handshake_timeout=0, reactor=self.clock)
        self.factory.setProtocolOptions(closeHandshakeTimeout=0, **options)

    def connect(self, peer: Any = None) -> "Peer":
        return Peer(self, peer)


class Peer:
    """A TCP connection to it."""

    def __init__(self, server: Server, address: Any = None) -> None:
        self.clock = server.clock
        self.transport = StringTransport(peerAddress=address)
        self.protocol = server.factory.buildProtocol(address)
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def answer(self) -> bytes:
        """What came since the last call."""
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def status(self) -> bytes:
        """The status line of what came, and nothing more may have come."""
        line, _, rest = self.answer().partition(b"\r\n")
        assert rest == b"\r\n"
        return line

    def frames(self) -> list[tuple[int, bytes]]:
        return unframed(self.answer())

    def upgrade(self, **changed: Any) -> "Peer":
        self.send(request_head(**changed))
        assert self.answer().startswith(b"HTTP/1.1 101 ")
        return self

    def opened(self) -> "Peer":
        self.upgrade().send(text(OPEN))
        ((opcode, message),) = self.frames()
        assert opcode == 1
        assert b'"type":"opened"' in message
        return self

    @property
    def is_closed(self) -> bool:
        return bool(self.transport.disconnecting)

    @property
    def is_aborted(self) -> bool:
        return bool(self.transport.disconnected)

    def lose(self, reason: Exception | None = None) -> None:
        self.protocol.connectionLost(Failure(reason or ConnectionDone()))


def open_peer(**options: Any) -> Peer:
    return Server(**options).connect().opened()


# ---- the upgrade -------------------------------------------------------------------------------------


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


UNAUTHENTIC = {
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
    assert [(name, count) for name, _, count in server.counters.items()] == [("refusals", 1)]


def test_a_request_works_once() -> None:
    server = Server()
    server.connect().upgrade()
    again = server.connect()
    again.send(request_head())
    server.clock.advance(0.5)
    assert again.status() == b"HTTP/1.1 401 Unauthorized"
    assert server.counters.value("refusals", "replayed") == 1


def test_where_it_is_wished_the_refusal_comes_in_the_session() -> None:
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
def test_who_hangs_up_before_the_refusal_leaves_nothing_behind(failure: str) -> None:
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


def test_what_comes_after_the_end_is_not_kept() -> None:
    peer = Server().connect()
    peer.send(request_head("/nowhere"))
    for _ in range(100):
        peer.send(b"x" * 65_536)
    assert len(peer.protocol.data) < 65_536


REFUSED = {
    "no route": (request_head("/nowhere"), b"404 Not Found"),
    "the whole URL": (request_head(f"http://audiohook.example.com{PATH}"), b"404 Not Found"),
    "no session": (request_head(Audiohook_Session_Id=None), b"400 Bad Request"),
    "session twice": (request_head(Audiohook_Session_Id=f"{SESSION_ID}, {SESSION_ID}"), b"400 Bad Request"),
    "organization": (request_head(Audiohook_Organization_Id="acme"), b"400 Bad Request"),
    "no upgrade": (request_head(Upgrade=None), b"426 Upgrade Required"),
    "browser": (request_head(Origin="https://audiohook.example.com"), b"400 Bad Request"),
    "null origin": (request_head(Origin="null"), b"400 Bad Request"),
    "strange origin": (request_head(Origin="nonsense"), b"400 Bad Request"),
    "key": (request_head(Sec_WebSocket_Key="<script>"), b"400 Bad Request"),
    "method": (request_head().replace(b"GET", b"POST", 1), b"405 Method Not Allowed"),
    "old HTTP": (request_head().replace(b"HTTP/1.1", b"HTTP/1.0", 1), b"505 HTTP Version Not Supported"),
    "deflate": (request_head(Sec_WebSocket_Extensions="permessage-deflate; what=7"), b"400 Bad Request"),
    "smuggled": (request_head(X_A="foo\x0bX-API-KEY: bar"), b"400 Bad Request"),
    "too large": (request_head(X_A="a" * 16_384), b"431 Request Header Fields Too Large"),
    "redirect": (request_head("/?redirect=https%3A%2F%2Fevil.example", Upgrade=None), b"426 Upgrade Required"),
}


@pytest.mark.parametrize(("head", "status"), REFUSED.values(), ids=REFUSED)
def test_a_request_that_is_none_gets_its_status_and_no_explanation(head: bytes, status: bytes) -> None:
    server = Server()
    peer = server.connect()
    peer.send(head)
    assert peer.status() == b"HTTP/1.1 " + status
    assert peer.is_closed
    assert server.counters.value("refusals", f"http-{int(status[:3])}") == 1


def test_a_version_that_is_not_spoken_is_told_which_one_is() -> None:
    peer = Server().connect()
    peer.send(request_head(Sec_WebSocket_Version="8"))
    assert peer.answer() == b"HTTP/1.1 400 Bad Request\r\nSec-WebSocket-Version: 13\r\n\r\n"


def test_one_connection_too_many() -> None:
    server = Server(max_connections=1)
    server.connect().upgrade()
    peer = server.connect()
    peer.send(request_head(nonce="another-nonce-of-24-char"))
    assert peer.status() == b"HTTP/1.1 503 Service Unavailable"


def test_an_error_of_our_own_is_not_told_to_the_peer(logged: list[LogEvent]) -> None:
    class Broken:
        def authenticate(self, *_: Any) -> Any:
            raise ZeroDivisionError("the secret of the universe")

    server = Server()
    server.factory.door = Door(Broken())  # type: ignore[arg-type]
    peer = server.connect()
    peer.send(request_head())
    assert peer.status() == b"HTTP/1.1 500 Internal Server Error"
    assert any("secret of the universe" in eventAsText(event) for event in logged)


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


# ---- messages ----------------------------------------------------------------------------------------


def test_audio_and_text_reach_the_session() -> None:
    server = Server()
    peer = server.connect().opened()
    peer.send(binary(b"\xff" * 3_200) + binary(b"\x7f" * 320))
    assert server.sink.arguments("audio") == [b"\xff" * 3_200, b"\x7f" * 320]


@given(st.lists(st.integers(1, 400), min_size=1, max_size=30))
def test_messages_may_be_cut_anywhere(sizes: list[int]) -> None:
    server = Server()
    peer = server.connect().upgrade()
    data = text(OPEN) + binary(b"\xff" * 320) + binary(b"\x7f" * 3_200)
    for size in [*sizes, len(data)]:
        piece, data = data[:size], data[size:]
        peer.send(piece)
    assert [opcode for opcode, _ in peer.frames()] == [1]
    assert server.sink.arguments("audio") == [b"\xff" * 320, b"\x7f" * 3_200]


def test_messages_may_come_byte_by_byte() -> None:
    server = Server()
    peer = server.connect().upgrade()
    for octet in text(OPEN) + binary(b"\xff" * 320):
        peer.send(bytes([octet]))
    assert server.sink.arguments("audio") == [b"\xff" * 320]


def test_messages_may_come_in_fragments_with_a_ping_between() -> None:
    server = Server()
    peer = server.connect().opened()
    peer.send(frame(2, b"\xff" * 100, fin=False) + frame(9, b"hello") + frame(0, b"\x7f" * 100))
    assert server.sink.arguments("audio") == [b"\xff" * 100 + b"\x7f" * 100]
    assert peer.frames() == [(10, b"hello")]


def test_a_message_slightly_too_large_is_answered_in_the_session() -> None:
    peer = open_peer()
    peer.send(binary(b"\xff" * (MAX_RECEIVED + 2)))
    ((_, message),) = peer.frames()
    assert b'"reason":"error","info":"message too large"' in message
    assert not peer.is_closed


@pytest.mark.parametrize("size", [2 * MAX_RECEIVED + 1, 10 * MAX_RECEIVED])
def test_a_message_far_too_large_is_answered_with_1009(size: int) -> None:
    server = Server()
    peer = server.connect().opened()
    peer.send(binary(b"\xff" * size))
    ((opcode, payload),) = peer.frames()
    assert (opcode, payload[:2]) == (8, struct.pack("!H", 1009))
    assert server.sink.arguments("audio") == []


def test_a_message_far_too_large_in_fragments() -> None:
    server = Server()
    peer = server.connect().opened()
    peer.send(frame(2, b"\xff" * 60_000, fin=False))
    for _ in range(3):
        peer.send(frame(0, b"\xff" * 60_000, fin=False))
    assert [(opcode, payload[:2]) for opcode, payload in peer.frames()] == [(8, struct.pack("!H", 1009))]


def test_an_unmasked_frame_is_answered_with_1002() -> None:
    peer = open_peer()
    peer.send(frame(1, b"{}", masked=False))
    ((opcode, payload),) = peer.frames()
    assert (opcode, payload[:2]) == (8, struct.pack("!H", 1002))


def test_text_that_is_not_utf_8_is_answered_with_1007() -> None:
    peer = open_peer()
    peer.send(text(b'{"version":"\xff"}'))
    ((opcode, payload),) = peer.frames()
    assert (opcode, payload[:2]) == (8, struct.pack("!H", 1007))


def test_a_message_that_breaks_us_ends_this_session_alone(logged: list[LogEvent]) -> None:
    server = Server()
    peer = server.connect().opened()
    peer.protocol._connection._fanout = None  # stands for a fault that we do not know
    peer.send(binary(b"\xff" * 320))
    ((_, message),) = peer.frames()
    assert b'"reason":"error","info":"internal error"' in message
    assert b"NoneType" not in message
    assert any("a message could not be handled" in formatEvent(event) for event in logged)
    peer.lose()
    assert server.clock.getDelayedCalls() == []


# ---- the end -----------------------------------------------------------------------------------------


def test_a_session_that_is_over_closes_the_websocket_with_1000() -> None:
    server = Server()
    peer = server.connect().upgrade()
    server.clock.advance(10.0)  # no open
    server.clock.advance(10.0)  # no close
    disconnect, close = peer.frames()
    assert b'"type":"disconnect"' in disconnect[1]
    assert close == (8, struct.pack("!H", 1000))
    peer.send(frame(8, struct.pack("!H", 1000)))
    assert peer.is_closed


def test_a_client_that_closes_the_websocket_is_gone() -> None:
    server = Server()
    peer = server.connect().opened()
    peer.send(frame(8, struct.pack("!H", 1000)))
    assert peer.frames() == [(8, struct.pack("!H", 1000))]
    assert peer.is_closed
    peer.lose()
    assert server.sink.calls[-1] == ("closed", "connection-lost")
    assert list(server.registry) == []
    assert server.clock.getDelayedCalls() == []


def test_who_does_not_read_what_is_left_is_dropped() -> None:
    server = Server()
    peer = server.connect().opened()
    peer.send(frame(8, struct.pack("!H", 1000)))
    server.clock.advance(LINGER_TIME - 0.1)
    assert not peer.is_aborted
    server.clock.advance(0.1)
    assert peer.is_aborted
    peer.lose(ConnectionAborted())
    assert server.clock.getDelayedCalls() == []


def test_a_connection_that_was_never_a_websocket_ends_without_a_trace() -> None:
    server = Server()
    server.connect().lose()
    peer = server.connect()
    peer.send(request_head()[:50])
    peer.lose(ConnectionAborted())
    assert list(server.registry) == []
    assert server.clock.getDelayedCalls() == []
    assert server.factory.countConnections == 0


def test_the_protocol_lets_go_of_its_call() -> None:
    server = Server()
    peer = server.connect().opened()
    peer.lose()
    peer.protocol.send(b"{}")
    peer.protocol.close()
    assert peer.answer() == b""
    assert peer.protocol._connection is None


# ---- a client that does not read ---------------------------------------------------------------------


def ping(seq: int) -> bytes:
    message = b'{"version":"2","id":"%s","type":"ping","seq":%d,"serverseq":1,"position":"PT0S","parameters":{}}'
    return text(message % (SESSION_ID.encode(), seq))


def test_who_does_not_read_is_dropped_when_too_much_waits() -> None:
    server = Server()
    peer = server.connect().opened()
    peer.protocol.transport.producer.pauseProducing()
    seq = 2
    while not peer.is_aborted and seq < 20_000:
        peer.send(ping(seq))
        seq += 1
    assert peer.is_aborted
    assert len(peer.answer()) <= UNREAD_LIMIT
    assert server.counters.value("clogged") == 1
    peer.lose(ConnectionAborted())
    assert server.sink.calls[-1] == ("closed", "connection-lost")


def test_who_reads_in_time_is_not() -> None:
    server = Server()
    peer = server.connect().opened()
    producer = peer.protocol.transport.producer
    for seq in range(2, 20_000):
        if seq % 4_000 == 0:
            producer.resumeProducing()
            producer.pauseProducing()
            peer.answer()
        peer.send(ping(seq))
    assert not peer.is_aborted


def test_pings_of_the_websocket_cannot_fill_our_memory_either() -> None:
    server = Server()
    peer = server.connect().opened()
    peer.protocol.transport.producer.pauseProducing()
    flood = frame(9) * 1_000
    for _ in range(UNREAD_LIMIT // 10_000 + 1):
        peer.send(flood)
    assert peer.is_aborted
    assert server.counters.value("clogged") == 1


def test_a_plugin_that_is_asked_while_the_client_does_not_read_learns_that_it_is_over() -> None:
    pending: Deferred[None] = Deferred()
    server = Server()
    server.sink.act = lambda method, *_: pending if method == "opened" else None
    peer = server.connect().upgrade()
    peer.send(text(OPEN))
    peer.protocol.abort()
    peer.lose(ConnectionAborted())
    pending.callback(None)
    assert server.sink.calls[-1] == ("closed", "connection-lost")
    assert list(server.registry) == []
