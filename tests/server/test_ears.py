"""Connections with sockets of their own, read together."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from websocket_rig import binary, text

from audiohookd.server.ears import ENOUGH, LONGEST, SHORTEST, Ears, Line


class Listener(Protocol):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.heard = b""

    def dataReceived(self, data: bytes) -> None:
        self.heard += data


class Call:
    """A connection from a peer, which is at the other end of a pair of sockets."""

    def __init__(self, reactor: MemoryReactorClock, protocol: Listener | None = None) -> None:
        self.taken: list[bytes] = []
        self.line: Line | None = None
        self.peer, ours = socket.socketpair()
        ours.setblocking(False)
        self.protocol = protocol or Listener()
        self.transport = Connection(ours, self.protocol, reactor)
        self.transport.connected = 1
        self.protocol.makeConnection(self.transport)
        self.transport.startReading()

    @property
    def heard(self) -> bytes:
        return self.protocol.heard

    def join(self, ears: Ears) -> "Call":
        """Is read by ``ears`` from now on."""
        self.line = ears.attend(self.transport, self.taken.append)
        assert self.line is not None
        return self


@pytest.fixture
def reactor() -> MemoryReactorClock:
    return MemoryReactorClock()


@pytest.fixture
def ears(reactor: MemoryReactorClock) -> Ears:
    return Ears(reactor)


Connect = Callable[..., Call]


@pytest.fixture
def connect(reactor: MemoryReactorClock) -> Iterator[Connect]:
    """Makes lines, which are gone at the end."""
    with ExitStack() as sockets:

        def make(protocol: Listener | None = None) -> Call:
            line = Call(reactor, protocol)
            for end in (line.peer, line.transport.socket):
                sockets.callback(end.close)
            return line

        yield make


@pytest.fixture
def lines(ears: Ears, connect: Connect) -> list[Call]:
    """Two of them."""
    lines = [connect(), connect()]
    for line in lines:
        line.join(ears)
    return lines


def waits(reactor: MemoryReactorClock, ears: Ears) -> bool:
    """For the reactor to say that something came in."""
    return ears in reactor.getReaders()


def test_the_reactor_reads_nothing_itself(reactor: MemoryReactorClock, ears: Ears, lines: list[Call]) -> None:
    assert reactor.getReaders() == [ears]


def test_what_has_come_in_is_read_at_once(ears: Ears, lines: list[Call]) -> None:
    for line, data in zip(lines, (b"one", b"two"), strict=True):
        line.peer.send(data)
    ears.doRead()
    assert [line.heard for line in lines] == [b"one", b"two"]


def test_what_comes_in_next_waits_for_more(reactor: MemoryReactorClock, ears: Ears, lines: list[Call]) -> None:
    lines[0].peer.send(b"one")
    ears.doRead()
    lines[0].peer.send(b"two")
    assert not waits(reactor, ears)
    reactor.advance(SHORTEST * 0.9)
    assert lines[0].heard == b"one"
    reactor.advance(LONGEST)
    assert lines[0].heard == b"onetwo"


def test_the_more_comes_in_the_shorter_the_rest(reactor: MemoryReactorClock, ears: Ears, connect: Connect) -> None:
    many = [connect() for _ in range(3 * ENOUGH)]
    for line in many:
        line.join(ears)

    def rest_after(speakers: list[Call]) -> float:
        for line in speakers:
            line.peer.send(b"data")
        for call in reactor.getDelayedCalls():
            reactor.advance(call.getTime() - reactor.seconds())
        if waits(reactor, ears):
            ears.doRead()
        (call,) = reactor.getDelayedCalls()
        return call.getTime() - reactor.seconds()

    assert rest_after(many[:1]) == pytest.approx(LONGEST)
    assert rest_after(many) == pytest.approx(LONGEST / 3)
    assert rest_after(many) == pytest.approx(SHORTEST)
    assert rest_after(many[: ENOUGH // 2]) == pytest.approx(2 * SHORTEST)


def test_an_answer_is_sent_at_once(reactor: MemoryReactorClock, ears: Ears, connect: Connect) -> None:
    class Answerer(Listener):
        def dataReceived(self, data: bytes) -> None:
            self.transport.write(b"pong")  # type: ignore[union-attr]
            ears.hasten(line.line)  # type: ignore[arg-type]

    line = connect(Answerer())
    line.join(ears)
    line.peer.send(b"ping")
    ears.doRead()
    assert line.peer.recv(100) == b"pong"
    assert line.transport not in reactor.getWriters()


def test_what_cannot_be_sent_at_once_is_left_to_the_reactor(
    reactor: MemoryReactorClock, ears: Ears, connect: Connect
) -> None:
    class Talker(Listener):
        def dataReceived(self, data: bytes) -> None:
            self.transport.write(bytes(4_000_000))  # type: ignore[union-attr]
            ears.hasten(line.line)  # type: ignore[arg-type]

    line = connect(Talker())
    line.join(ears)
    line.peer.send(b"ping")
    ears.doRead()
    assert line.transport in reactor.getWriters()


def test_who_goes_with_the_answer_is_left_alone(reactor: MemoryReactorClock, ears: Ears, connect: Connect) -> None:
    class Leaver(Listener):
        def dataReceived(self, data: bytes) -> None:
            self.transport.write(b"bye")  # type: ignore[union-attr]
            ears.hasten(line.line)  # type: ignore[arg-type]
            self.transport.loseConnection()  # type: ignore[union-attr]

    line = connect(Leaver())
    line.join(ears)
    line.peer.send(b"ping")
    ears.doRead()
    assert line.transport in reactor.getWriters()  # which ends the connection once that is written
    assert not line.transport.disconnected


def test_what_was_written_to_another_is_the_reactors(
    reactor: MemoryReactorClock, ears: Ears, connect: Connect
) -> None:
    other = connect()
    other.join(ears)

    class Neighbour(Listener):
        def dataReceived(self, data: bytes) -> None:
            other.transport.write(b"psst")
            ears.hasten(other.line)  # type: ignore[arg-type]

    line = connect(Neighbour())
    line.join(ears)
    line.peer.send(b"data")
    ears.doRead()
    assert other.transport in reactor.getWriters()


def test_when_nothing_comes_in_the_reactor_tells(reactor: MemoryReactorClock, ears: Ears, lines: list[Call]) -> None:
    lines[0].peer.send(b"one")
    ears.doRead()
    reactor.advance(LONGEST)
    assert waits(reactor, ears)
    assert reactor.getDelayedCalls() == []


def test_who_joins_meanwhile_is_read_too(
    reactor: MemoryReactorClock, ears: Ears, lines: list[Call], connect: Connect
) -> None:
    lines[0].peer.send(b"one")
    ears.doRead()
    late = connect()
    late.join(ears)
    assert not waits(reactor, ears)
    late.peer.send(b"late")
    reactor.advance(LONGEST)
    assert late.heard == b"late"


def test_the_end_of_a_connection_is_the_reactors(reactor: MemoryReactorClock, ears: Ears, lines: list[Call]) -> None:
    lines[0].peer.send(b"last")
    lines[0].peer.close()
    ears.doRead()
    reactor.advance(LONGEST)
    assert lines[0].heard == b"last"
    assert lines[0].transport in reactor.getReaders()
    lines[1].peer.send(b"on")
    ears.doRead()
    assert lines[1].heard == b"on"


def test_who_is_being_closed_is_not_read(reactor: MemoryReactorClock, ears: Ears, lines: list[Call]) -> None:
    lines[0].transport.write(b"bye")
    lines[0].transport.loseConnection()
    lines[0].peer.send(b"more")
    ears.doRead()
    assert lines[0].heard == b""
    assert lines[0].transport not in reactor.getReaders()
    reactor.advance(LONGEST)
    assert waits(reactor, ears)


def test_one_that_breaks_is_dropped_alone(
    reactor: MemoryReactorClock, ears: Ears, lines: list[Call], connect: Connect
) -> None:
    class Broken(Listener):
        def dataReceived(self, data: bytes) -> None:
            raise ValueError("broken")

    broken = connect(Broken())
    broken.join(ears)
    for line in (broken, *lines):
        line.peer.send(b"data")
    with capturedLogs() as logged:
        ears.doRead()
    assert [line.heard for line in lines] == [b"data", b"data"]
    assert [str(event["log_failure"].value) for event in logged] == ["broken"]
    reactor.advance(LONGEST)
    assert broken.transport.disconnected


def test_what_goes_wrong_costs_the_others_nothing(
    reactor: MemoryReactorClock, ears: Ears, lines: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is: nobody would be read any more."""

    def fail() -> None:
        raise OSError("no memory")

    monkeypatch.setattr(lines[0].transport, "startReading", fail)
    lines[0].peer.close()
    with capturedLogs():
        ears.doRead()
    lines[1].peer.send(b"on")
    reactor.advance(LONGEST)
    assert lines[1].heard == b"on"


def test_on_a_clear_line_audio_goes_past_the_protocol(ears: Ears, lines: list[Call]) -> None:
    clear, other = lines
    clear.line.is_clear = True  # type: ignore[union-attr]
    for line in lines:
        line.peer.send(binary(b"one") + binary(b"two"))
    ears.doRead()
    assert (clear.taken, clear.heard) == ([b"one", b"two"], b"")
    assert (other.taken, other.heard) == ([], binary(b"one") + binary(b"two"))


def test_what_is_no_audio_is_the_protocols(ears: Ears, lines: list[Call]) -> None:
    line = lines[0]
    line.line.is_clear = True  # type: ignore[union-attr]
    line.peer.send(binary(b"one") + text(b"{}") + binary(b"two"))
    ears.doRead()
    assert (line.taken, line.heard) == ([b"one"], text(b"{}") + binary(b"two"))


def test_audio_that_obstructs_the_line_is_the_last(ears: Ears, connect: Connect) -> None:
    line = connect()
    taken: list[bytes] = []

    def take(message: bytes) -> None:
        taken.append(message)
        attended.is_clear = False

    attended = ears.attend(line.transport, take)
    assert attended is not None
    attended.is_clear = True
    line.peer.send(binary(b"one") + binary(b"two"))
    ears.doRead()
    assert (taken, line.heard) == ([b"one"], b"")


def test_the_end_of_a_clear_line_is_the_reactors(reactor: MemoryReactorClock, ears: Ears, lines: list[Call]) -> None:
    line = lines[0]
    line.line.is_clear = True  # type: ignore[union-attr]
    line.peer.send(binary(b"last"))
    line.peer.close()
    ears.doRead()
    reactor.advance(LONGEST)
    assert line.taken == [b"last"]
    assert line.transport in reactor.getReaders()


def test_one_that_is_dropped_by_another_is_left_alone(ears: Ears, lines: list[Call]) -> None:
    first, second = lines

    def drop(data: bytes) -> None:
        for line in lines:
            ears.forget(line.line)  # type: ignore[arg-type]

    for line in lines:
        line.protocol.dataReceived = drop  # type: ignore[method-assign]
    calls: list[bytes] = []
    second.protocol.dataReceived = calls.append  # type: ignore[method-assign]
    first.peer.send(b"one")
    second.peer.send(b"two")
    ears.doRead()
    assert calls == []


def test_when_nobody_is_left_the_reactor_has_nothing_to_do(
    reactor: MemoryReactorClock, ears: Ears, lines: list[Call]
) -> None:
    for line in lines:
        ears.forget(line.line)  # type: ignore[arg-type]
    assert reactor.getReaders() == []


def test_below_a_wrapper_there_is_a_socket(ears: Ears, connect: Connect) -> None:
    wrapper = ProtocolWrapper(WrappingFactory(Factory()), Listener())
    line = connect()
    wrapper.makeConnection(line.transport)
    below = ears.attend(wrapper, line.taken.append)
    assert below is not None
    assert below.transport is line.transport


def test_what_has_no_socket_is_left_to_the_reactor(reactor: MemoryReactorClock, ears: Ears) -> None:
    assert ears.attend(StringTransport(), [].append) is None
    assert reactor.getReaders() == []
