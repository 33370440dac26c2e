"""Reading from sockets, compiled and not."""

import socket
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.edge.base_transport import READ_SIZE
from audiohookd.websocket.fastpath import hearing
from audiohookd.websocket.fastpath.frames import parse_binary_messages_in_python
from audiohookd.websocket.fastpath.hearing import Received, recv_messages, recv_messages_in_python
from tests.programs import needs_compiler
from tests.websocket.websocket_rig import binary

Hear = Callable[[int], Received | None]


@pytest.fixture(params=[recv_messages, recv_messages_in_python], ids=["as-installed", "in-python"])
def listen(request: pytest.FixtureRequest) -> Hear:
    function: Hear = request.param
    return function


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, peer = socket.socketpair()
    with ours, peer:
        yield ours, peer


Ends = tuple[socket.socket, socket.socket]


def test_messages_and_what_is_left(listen: Hear, ends: Ends) -> None:
    ours, peer = ends
    peer.send(binary(b"one") + binary(b"two") + b"rest")
    assert listen(ours.fileno()) == ([b"one", b"two"], b"rest")


def test_so_much_at_a_time(listen: Hear, ends: Ends) -> None:
    ours, peer = ends
    peer.send(binary(bytes(READ_SIZE)) + b"more")
    first = listen(ours.fileno())
    assert first is not None
    assert (first[0], len(first[1])) == ([], READ_SIZE)


def test_nothing_is_there(listen: Hear, ends: Ends) -> None:
    assert listen(ends[0].fileno()) is None


def test_the_peer_has_gone(listen: Hear, ends: Ends) -> None:
    ends[1].close()
    assert listen(ends[0].fileno()) is None


def test_the_connection_is_broken(listen: Hear) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        peer, _ = server.accept()
        with peer:
            ours.send(b"unread")  # which makes a reset of the close
            while not peer.recv(1, socket.MSG_PEEK):
                pass
        assert listen(ours.fileno()) is None


@given(st.lists(st.binary(max_size=40) | st.binary(max_size=300).map(binary), min_size=1, max_size=6).map(b"".join))
def test_compiled_or_not_is_the_same(stream: bytes) -> None:
    heard = []
    for function in (recv_messages, recv_messages_in_python):
        ours, peer = socket.socketpair()
        with ours, peer:
            peer.send(stream)
            heard.append(function(ours.fileno()))
    messages, at = parse_binary_messages_in_python(stream[:READ_SIZE])
    assert heard == ([(messages, stream[at:READ_SIZE])] * 2 if stream else [None, None])


@needs_compiler
def test_the_compiled_reader_is_used_if_there_is_a_compiler() -> None:
    assert hearing.recv_messages is not recv_messages_in_python
