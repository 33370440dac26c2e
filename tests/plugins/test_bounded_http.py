"""Connections with bounded responses: their time, their size, and how requests are sent."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from twisted.internet.task import Clock
from urllib3 import HTTPConnectionPool

from audiohookd_plugins.bounded_http import Allowance, BadAnswer, Bounds, bounded
from tests.plugins.webhook_rig import certificate

SIZE = 1 << 20
#: Seconds.
USUAL, LONG = 60.0, 1800.0


def connected(sock: socket.socket, bounds: Bounds) -> Any:
    """The socket of a connection, as urllib3 uses it."""
    connection = bounded({"http": HTTPConnectionPool}, bounds)["http"].ConnectionCls("store.example")
    connection.sock = sock
    return connection.sock


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The client's socket and the server's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


class TestTheTimeOfAnAnswer:
    def read(self, pair: tuple[socket.socket, socket.socket], bounds: Bounds, clock: Clock, *at: float) -> None:
        """Sends a byte at each of these times."""
        ours, theirs = pair
        with connected(ours, bounds).makefile("rb") as answer:
            for seconds in at:
                clock.advance(seconds - clock.seconds())
                theirs.send(b" ")
                assert answer.read1(1) == b" "

    @pytest.mark.parametrize("allowance", [None, Allowance])
    def test_limits_the_whole_response(self, pair: tuple[socket.socket, socket.socket], allowance: Any) -> None:
        clock = Clock()
        with pytest.raises(TimeoutError):
            self.read(pair, Bounds(USUAL, SIZE, clock.seconds, allowance), clock, 0.0, 59.0, 61.0)
        assert clock.seconds() == 61.0

    def test_an_allowance_extends_it(self, pair: tuple[socket.socket, socket.socket]) -> None:
        clock = Clock()
        bounds = Bounds(USUAL, SIZE, clock.seconds, lambda: Allowance(LONG))
        with pytest.raises(TimeoutError):
            self.read(pair, bounds, clock, 0.0, 61.0, 1799.0, 1801.0)
        assert clock.seconds() == 1801.0

    def test_an_allowance_does_not_extend_single_reads(self, pair: tuple[socket.socket, socket.socket]) -> None:
        ours, _ = pair
        bounds = Bounds(0.05, SIZE, Clock().seconds, lambda: Allowance(LONG))
        with connected(ours, bounds).makefile("rb") as answer, pytest.raises(TimeoutError):
            answer.read1(1)


class TestTheSizeOfAnAnswer:
    @pytest.mark.parametrize(
        ("usual", "allowance", "size"),
        [(SIZE, None, SIZE), (SIZE, Allowance, SIZE), (5, lambda: Allowance(0.0, 10), 10)],
    )
    def test_an_allowance_extends_the_limit(
        self, usual: int, allowance: Any, size: int, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = pair
        bounds = Bounds(USUAL, usual, Clock().seconds, allowance)
        with connected(ours, bounds).makefile("rb") as answer:
            sender = Thread(target=theirs.sendall, args=(bytes(size + 1),))
            sender.start()
            with pytest.raises(BadAnswer, match=f"more than {size} bytes"):
                answer.read(size + 1)
            sender.join()


class TestSendingWithTls:
    def test_may_take_long_while_data_flows(self, pair: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
        """Python has one deadline for all data of one call."""
        ours, theirs = pair
        for sock in pair:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        seconds = 0.4
        taken: list[Any] = []
        slowly = Thread(target=take, args=(theirs, certificate(tmp_path), taken, 4 * seconds))
        slowly.start()
        try:
            context = ssl.create_default_context(cafile=tmp_path / "chain.pem")
            with context.wrap_socket(ours, server_hostname="127.0.0.1") as secure:
                connected(secure, Bounds(seconds, SIZE, Clock().seconds)).sendall(bytes(16 * RECORD))
        finally:
            slowly.join()
        assert sum(taken) == 16 * RECORD


#: Bytes that TLS sends at once, at most.
RECORD = 16_384


def take(sock: socket.socket, files: Any, taken: list[int], seconds: float) -> None:
    """Reads everything, within so many seconds."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    with context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=True) as secure:
        while sum(taken) < 16 * RECORD:
            Event().wait(seconds / 16)
            data = secure.recv(RECORD)
            if not data:
                return
            taken.append(len(data))
