"""Calls over sockets, read by the ears: the way past the protocol leads to the same."""

import socket
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from audiohookd.edge.base_transport import READ_SIZE
from audiohookd.testing import SESSION_ID
from audiohookd.websocket.fastpath.batch_reader import MAX_INTERVAL, BatchReader
from audiohookd.websocket.fastpath.frames import CUT_LIMIT
from audiohookd.websocket.protocol import FRAMES_PER_TURN
from tests.proxy_headers import v1
from tests.websocket.proxied_rig import FrontedServer
from tests.websocket.websocket_rig import OPEN, Server, binary, frame, request_head, text, unframed

HEADER = v1(ip_address("192.0.2.1"))
PING = b'{"version":"2","id":"%s","type":"ping","seq":%d,"serverseq":0,"position":"PT0S","parameters":{}}'


def ping(number: int) -> bytes:
    return text(PING % (SESSION_ID.encode(), number))


class SocketPeer:
    """A connection to a server, through a pair of sockets."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.reactor = MemoryReactorClock()
        server.factory.batch_reader = BatchReader(self.reactor)
        self.peer, self._ours = socket.socketpair()
        self.peer.setblocking(False)
        self._ours.setblocking(False)
        self.protocol = server.port.buildProtocol(None)
        self.transport = Connection(self._ours, self.protocol, self.reactor)
        self.transport.connected = 1
        self.transport.getPeer = lambda: None  # type: ignore[method-assign]
        self.transport.setTcpNoDelay = lambda _: None  # type: ignore[assignment, method-assign]
        self.protocol.makeConnection(self.transport)
        self.transport.startReading()

    def say(self, data: bytes) -> None:
        """Sends it, and lets the server read, and answer."""
        while data and self.transport.connected:
            data = data[self.peer.send(data[:10_000]) :]
            self.turn()

    def turn(self) -> None:
        for _ in range(6):
            for reader in list(self.reactor.getReaders()):
                reader.doRead()
            self.reactor.advance(MAX_INTERVAL)
            for writer in list(self.reactor.getWriters()):
                writer.doWrite()

    def answers(self) -> list[tuple[int, bytes]]:
        heard = b""
        while True:
            try:
                more = self.peer.recv(65_536)
            except (BlockingIOError, ConnectionResetError):
                break
            if not more:
                break
            heard += more
        return unframed(heard)

    def opened(self) -> "SocketPeer":
        self.say(request_head())
        assert self.peer.recv(65_536).startswith(b"HTTP/1.1 101 ")
        self.say(text(OPEN))
        assert len(self.answers()) == 1
        return self

    def close(self) -> None:
        self.peer.close()
        self._ours.close()


@pytest.fixture
def call() -> Iterator[SocketPeer]:
    peer = SocketPeer(Server()).opened()
    yield peer
    peer.close()


def past_the_protocol(call: SocketPeer, data: bytes) -> bool:
    """Whether audio that comes now needs neither transport nor protocol; and it does arrive."""
    read: list[bytes] = []
    call.transport.doRead = lambda: read.append(call.transport.socket.recv(4_096))  # type: ignore[method-assign]
    before = len(call.server.sink.arguments("audio"))
    call.say(binary(data))
    del call.transport.doRead
    return not read and call.server.sink.arguments("audio")[before:] == [data]


def test_audio_of_an_open_call_goes_past_the_protocol(call: SocketPeer) -> None:
    call.say(ping(2))
    assert past_the_protocol(call, b"\xff" * 320)
    assert past_the_protocol(call, b"\x7f" * 320)


def test_behind_the_proxy_protocol_it_does_so_as_well() -> None:
    with closing(SocketPeer(FrontedServer())) as call:
        call.say(HEADER)
        call.opened()
        assert past_the_protocol(call, b"\x7f" * 320)


def test_nothing_is_left_behind_of_what_comes_together_with_a_proxy_header() -> None:
    with closing(SocketPeer(FrontedServer())) as call:
        call.say(HEADER + request_head() + text(OPEN) + binary(b"\xff" * 10))
        assert call.server.sink.arguments("audio") == [b"\xff" * 10]
        call.say(ping(2))
        assert past_the_protocol(call, b"\x7f" * 320)


def test_not_in_the_middle_of_a_message(call: SocketPeer) -> None:
    call.say(frame(2, b"\xff" * 100, fin=False))
    call.say(binary(b"\x7f" * 100))
    assert call.server.sink.arguments("audio") == []
    assert [opcode for opcode, _ in call.answers()] == [8]


def test_not_when_we_have_closed(call: SocketPeer) -> None:
    call.protocol.close("over")
    assert not past_the_protocol(call, b"\x7f" * 320)


def test_not_when_we_have_dropped_it(call: SocketPeer) -> None:
    call.protocol.abort()
    call.say(binary(b"\x7f" * 100))
    assert call.server.sink.arguments("audio") == []


PIECES = st.lists(
    st.sampled_from(
        [
            binary(b"\xff" * 320),
            binary(b"\x7f" * 3_200),
            binary(b"\x7f" * 9_000),
            frame(2, b"\xff" * 100, fin=False),
            frame(0, b"\x7f" * 100),
            frame(9, b"hello"),
            frame(8, b"\x03\xe8"),
            text(b"{}"),
            "ping",
            binary(b"\x01" * 101),
            frame(2, b"bare", masked=False),
        ]
    ),
    max_size=8,
)


@given(PIECES, st.lists(st.integers(1, 5_000), min_size=1, max_size=12))
def test_any_stream_leads_to_the_same(pieces: list[bytes | str], sizes: list[int]) -> None:
    stream = b"".join(ping(2 + pieces[:n].count("ping")) if isinstance(p, str) else p for n, p in enumerate(pieces))
    over_socket, server = SocketPeer(Server()).opened(), Server()
    in_memory = server.connect().opened()
    rest = stream
    for size in [*sizes, len(stream)]:
        piece, rest = rest[:size], rest[size:]
        if over_socket.transport.connected:
            over_socket.say(piece)
        if not in_memory.is_closed:
            in_memory.send(piece)
    answers, wanted, is_aborted = over_socket.answers(), in_memory.frames(), in_memory.is_aborted
    in_memory.lose()
    if over_socket.transport.connected:
        over_socket.transport.connectionLost(Failure(ConnectionDone()))
    heard, expected = over_socket.server.sink, server.sink
    assert heard.names == expected.names
    assert heard.arguments("audio") == expected.arguments("audio")
    assert answers == wanted or is_aborted  # which costs a socket what was not sent yet
    over_socket.close()


def test_of_many_control_frames_some_are_handled_in_one_turn_and_the_rest_in_the_next(call: SocketPeer) -> None:
    call.peer.send(frame(9, b"x") * (4 * FRAMES_PER_TURN) + ping(2))
    pongs = []
    for _ in range(4):
        for reader in list(call.reactor.getReaders()):
            reader.doRead()
        for writer in list(call.reactor.getWriters()):
            writer.doWrite()
        pongs.append([opcode for opcode, _ in call.answers()])
        call.reactor.advance(MAX_INTERVAL)
    counts = [opcodes.count(10) for opcodes in pongs]
    assert FRAMES_PER_TURN <= counts[0] <= 2 * FRAMES_PER_TURN, "once with all others, once with the costly ones"
    assert sum(counts) == 4 * FRAMES_PER_TURN
    assert [opcode for opcodes in pongs for opcode in opcodes][-1] == 1


def test_the_backlog_of_a_lost_connection_is_dropped(call: SocketPeer) -> None:
    call.peer.send(frame(9, b"x") * (3 * FRAMES_PER_TURN))
    for reader in list(call.reactor.getReaders()):
        reader.doRead()
    call.protocol.abort()
    call.turn()
    assert call.reactor.getReaders() == []


def test_data_that_comes_with_the_request_is_handled_to_its_end() -> None:
    with closing(SocketPeer(Server())) as call:
        call.peer.send(request_head() + text(OPEN) + frame(9, b"x") * (3 * FRAMES_PER_TURN))
        call.turn()
        answer = call.peer.recv(65_536).partition(b"\r\n\r\n")[2]
        assert [opcode for opcode, _ in unframed(answer)] == [1] + [10] * (3 * FRAMES_PER_TURN)
        assert call.server.factory.batch_reader in call.reactor.getReaders()


def test_of_many_tiny_messages_some_are_handled_in_one_turn_and_all_in_order(call: SocketPeer) -> None:
    payloads = [bytes((number % 250, 1)) for number in range(400)]
    call.peer.send(b"".join(map(binary, payloads)))
    for reader in list(call.reactor.getReaders()):
        reader.doRead()
    first = len(call.server.sink.arguments("audio"))
    assert CUT_LIMIT < first <= (2 * FRAMES_PER_TURN + 1) * CUT_LIMIT, "read, and resumed with the costly ones"
    call.turn()
    assert call.server.sink.arguments("audio") == payloads


def test_the_end_of_a_long_text_is_read_after_all_others(call: SocketPeer) -> None:
    long = text(PING.replace(b"{}", b'{"x":"%s"}' % (b"y" * 3 * READ_SIZE)) % (SESSION_ID.encode(), 2))
    line = call.protocol._read_handle
    assert line is not None
    call.say(ping(2)[:-1])
    assert not line.is_costly, "a short text that is torn"
    call.say(ping(2)[-1:])
    call.say(long[:-1])
    assert line.costly_until > call.reactor.seconds()
    call.say(long[-1:])
    assert not line.is_costly
