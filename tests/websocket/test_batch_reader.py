"""Connections with sockets of their own, read together."""

import errno

import pytest
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from audiohookd.edge.base_transport import READ_SIZE
from audiohookd.websocket.fastpath.batch_reader import (
    BOT_INTERVAL,
    COSTLY_TIME,
    MAX_INTERVAL,
    MIN_INTERVAL,
    TARGET_BATCH,
    TURN,
    BatchReader,
)
from tests.websocket.batch_reader_rig import Call, Connect, Listener


def waits(reactor: MemoryReactorClock, ears: BatchReader) -> bool:
    """For the reactor to say that something came in."""
    return ears in reactor.getReaders()


def test_the_reactor_reads_nothing_itself(reactor: MemoryReactorClock, ears: BatchReader, lines: list[Call]) -> None:
    assert reactor.getReaders() == [ears]


def test_received_data_is_read_at_once(ears: BatchReader, lines: list[Call]) -> None:
    for line, data in zip(lines, (b"one", b"two"), strict=True):
        line.peer.send(data)
    ears.doRead()
    assert [line.heard for line in lines] == [b"one", b"two"]


def test_the_next_data_waits_for_the_interval(
    reactor: MemoryReactorClock, ears: BatchReader, lines: list[Call]
) -> None:
    lines[0].peer.send(b"one")
    ears.doRead()
    lines[0].peer.send(b"two")
    assert not waits(reactor, ears)
    reactor.advance(MIN_INTERVAL * 0.9)
    assert lines[0].heard == b"one"
    reactor.advance(MAX_INTERVAL)
    assert lines[0].heard == b"onetwo"


def test_the_more_comes_in_the_shorter_the_rest(
    reactor: MemoryReactorClock, ears: BatchReader, connect: Connect
) -> None:
    many = [connect() for _ in range(100)]
    for line in many:
        line.join(ears)

    def rest_after(speakers: float) -> float:
        for line in many[: max(1, round(speakers))]:
            line.peer.send(b"data")
        for call in reactor.getDelayedCalls():
            reactor.advance(call.getTime() - reactor.seconds())
        if waits(reactor, ears):
            ears.doRead()
        (call,) = reactor.getDelayedCalls()
        return call.getTime() - reactor.seconds()

    def rest_at(rate: float) -> float:
        """With so many that speak each second."""
        rest = MAX_INTERVAL
        for _ in range(80):
            rest = rest_after(rate * rest)
        return rest

    assert rest_at(100) == pytest.approx(MAX_INTERVAL)
    assert rest_after(TARGET_BATCH) == pytest.approx(MAX_INTERVAL)
    assert MAX_INTERVAL / 2 < rest_after(2 * TARGET_BATCH) < MAX_INTERVAL, (
        "one batch must not change the interval much"
    )
    assert 2 * MIN_INTERVAL < rest_at(6_000) < MAX_INTERVAL / 2
    assert rest_at(20_000) == pytest.approx(MIN_INTERVAL)
    assert rest_at(100) == pytest.approx(MAX_INTERVAL)


def test_bots_are_read_more_often(reactor: MemoryReactorClock, ears: BatchReader, connect: Connect) -> None:
    caller, bot = connect(), connect()
    caller.join(ears)
    bot.join(ears, is_bot=True)

    def rest_of(speaker: Call) -> float:
        """The interval after many batches of one connection."""
        rest = 0.0
        for _ in range(80):
            speaker.peer.send(b"data")
            for call in reactor.getDelayedCalls():
                reactor.advance(call.getTime() - reactor.seconds())
            if waits(reactor, ears):
                ears.doRead()
            (call,) = reactor.getDelayedCalls()
            rest = call.getTime() - reactor.seconds()
        return rest

    assert rest_of(caller) == pytest.approx(BOT_INTERVAL)
    assert bot.line is not None
    ears.unregister(bot.line)
    assert rest_of(caller) == pytest.approx(MAX_INTERVAL)


def test_a_connection_with_more_data_than_one_read_does_not_wait(
    reactor: MemoryReactorClock, ears: BatchReader, lines: list[Call]
) -> None:
    """Calls 20 times as fast as real time were 13 s behind at their ends, and their pings with them."""
    first, second = lines

    def look() -> float:
        (call,) = reactor.getDelayedCalls()
        rest = call.getTime() - reactor.seconds()
        reactor.advance(rest)
        return rest

    first.peer.send(b"?")
    ears.doRead()
    for _ in range(80):
        first.peer.send(b"?")
        usual = look()
    assert usual == pytest.approx(MAX_INTERVAL)
    for line in lines:
        line.transport.bufferSize = READ_SIZE
        line.peer.send(b"!" * 5 * READ_SIZE)
    look()
    rests = [look() for _ in range(4)]
    assert rests == pytest.approx([MIN_INTERVAL] * 4)
    assert [line.heard.count(b"!") for line in lines] == [5 * READ_SIZE] * 2
    second.peer.send(b"!")
    assert look() > MAX_INTERVAL / 2


def test_when_nothing_comes_in_the_reactor_tells(
    reactor: MemoryReactorClock, ears: BatchReader, lines: list[Call]
) -> None:
    lines[0].peer.send(b"one")
    ears.doRead()
    reactor.advance(MAX_INTERVAL)
    assert waits(reactor, ears)
    assert reactor.getDelayedCalls() == []


def test_a_connection_registered_during_the_interval_is_read_too(
    reactor: MemoryReactorClock, ears: BatchReader, lines: list[Call], connect: Connect
) -> None:
    lines[0].peer.send(b"one")
    ears.doRead()
    late = connect()
    late.join(ears)
    assert not waits(reactor, ears)
    late.peer.send(b"late")
    reactor.advance(MAX_INTERVAL)
    assert late.heard == b"late"


def test_the_end_of_a_connection_is_the_reactors(
    reactor: MemoryReactorClock, ears: BatchReader, lines: list[Call]
) -> None:
    lines[0].peer.send(b"last")
    lines[0].peer.close()
    ears.doRead()
    reactor.advance(MAX_INTERVAL)
    assert lines[0].heard == b"last"
    assert lines[0].transport in reactor.getReaders()
    lines[1].peer.send(b"on")
    ears.doRead()
    assert lines[1].heard == b"on"


def test_a_closing_connection_is_not_read(reactor: MemoryReactorClock, ears: BatchReader, lines: list[Call]) -> None:
    lines[0].transport.write(b"bye")
    lines[0].transport.loseConnection()
    lines[0].peer.send(b"more")
    ears.doRead()
    assert lines[0].heard == b""
    assert lines[0].transport not in reactor.getReaders()
    reactor.advance(MAX_INTERVAL)
    assert waits(reactor, ears)


def test_one_that_breaks_is_dropped_alone(
    reactor: MemoryReactorClock, ears: BatchReader, lines: list[Call], connect: Connect
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
    reactor.advance(MAX_INTERVAL)
    assert broken.transport.disconnected


def test_an_exception_of_one_connection_does_not_affect_others(
    reactor: MemoryReactorClock, ears: BatchReader, lines: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any exception must not stop reading the other connections."""

    def fail() -> None:
        raise OSError("no memory")

    monkeypatch.setattr(lines[0].transport, "startReading", fail)
    lines[0].peer.close()
    with capturedLogs():
        ears.doRead()
    lines[1].peer.send(b"on")
    reactor.advance(MAX_INTERVAL)
    assert lines[1].heard == b"on"


def test_one_that_is_dropped_by_another_is_left_alone(ears: BatchReader, lines: list[Call]) -> None:
    first, second = lines

    def drop(data: bytes) -> None:
        for line in lines:
            ears.unregister(line.line)  # type: ignore[arg-type]

    for line in lines:
        line.protocol.dataReceived = drop  # type: ignore[method-assign]
    calls: list[bytes] = []
    second.protocol.dataReceived = calls.append  # type: ignore[assignment, method-assign]
    first.peer.send(b"one")
    second.peer.send(b"two")
    ears.doRead()
    assert calls == []


def test_when_nobody_is_left_the_reactor_has_nothing_to_do(
    reactor: MemoryReactorClock, ears: BatchReader, lines: list[Call]
) -> None:
    for line in lines:
        ears.unregister(line.line)  # type: ignore[arg-type]
    assert reactor.getReaders() == []


def test_below_a_wrapper_there_is_a_socket(ears: BatchReader, connect: Connect) -> None:
    wrapper = ProtocolWrapper(WrappingFactory(Factory()), Listener())
    line = connect()
    wrapper.makeConnection(line.transport)
    below = ears.register(wrapper, line.taken.append, line.texts.append, line.resume)
    assert below is not None
    assert below.transport is line.transport


def test_a_transport_without_a_socket_is_left_to_the_reactor(reactor: MemoryReactorClock, ears: BatchReader) -> None:
    assert ears.register(StringTransport(), [].append, [].append, [].clear) is None  # type: ignore[arg-type]
    assert reactor.getReaders() == []


class Slow(Listener):
    """Takes 2 ms to handle what it is given."""

    def __init__(self, reactor: MemoryReactorClock, order: list[Listener]) -> None:
        super().__init__()
        self._reactor = reactor
        self._order = order

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self._order.append(self)
        self._reactor.rightNow += 0.002


def flooder(connect: Connect, reactor: MemoryReactorClock, ears: BatchReader, order: list[Listener]) -> Call:
    """A connection that has left a backlog a moment ago."""
    call = connect(Slow(reactor, order)).join(ears)
    assert call.line is not None
    call.line.costly_until = reactor.seconds() + COSTLY_TIME
    return call


class TestTurns:
    """150 sessions with one-octet fragments held up all other calls for 2.9 s."""

    def next_turn(self, reactor: MemoryReactorClock) -> None:
        (call,) = reactor.getDelayedCalls()
        reactor.advance(max(0.0, call.getTime() - reactor.seconds()))

    def test_a_connection_with_a_backlog_is_read_after_the_others_for_a_time(
        self, reactor: MemoryReactorClock, ears: BatchReader, connect: Connect
    ) -> None:
        order: list[Listener] = []
        flood, other = connect(Slow(reactor, order)).join(ears), connect(Slow(reactor, order))
        assert flood.line is not None
        flood.line.has_backlog, flood.backlog = True, 2
        flood.peer.send(b"x")
        ears.doRead()
        self.next_turn(reactor)
        assert (flood.resumed, flood.line.has_backlog, order) == (2, False, [])
        other.join(ears)
        for expected in ([other.protocol, flood.protocol], [flood.protocol, other.protocol]):
            flood.peer.send(b"x")
            other.peer.send(b"x")
            self.next_turn(reactor)
            assert order == expected
            order.clear()
            reactor.rightNow += COSTLY_TIME

    def test_a_costly_connection_that_is_reset_has_its_error_kept(
        self, reactor: MemoryReactorClock, ears: BatchReader, connect: Connect
    ) -> None:
        costly = flooder(connect, reactor, ears, [])
        costly.peer.send(b"x")
        ears.doRead()
        costly.transport.socket.send(b"never read")
        costly.peer.close()
        self.next_turn(reactor)
        assert costly.line is not None
        assert costly.line.fault == errno.ECONNRESET

    def test_a_connection_whose_error_cannot_be_read_costs_no_other_one(
        self, reactor: MemoryReactorClock, ears: BatchReader, lines: list[Call], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = lines
        first.transport.socket.send(b"never read")
        first.peer.close()
        second.peer.send(b"y")
        monkeypatch.delattr(first.transport, "socket")
        monkeypatch.setattr(first.transport, "abortConnection", lambda: None)
        with capturedLogs() as events:
            ears.doRead()
        assert [event["log_format"] for event in events] == ["connection aborted: reading it failed"]
        assert second.heard == b"y"

    def test_costly_connections_share_a_part_of_each_turn_and_take_turns(
        self, reactor: MemoryReactorClock, ears: BatchReader, connect: Connect
    ) -> None:
        order: list[Listener] = []
        flood = [flooder(connect, reactor, ears, order) for _ in range(8)]
        cheap = connect().join(ears)
        for number in range(1, 9):
            for call in flood:
                call.peer.send(b"x")
            cheap.peer.send(b"y")
            if number == 1:
                ears.doRead()
            else:
                self.next_turn(reactor)
            assert len(order) == 3 * number
            assert cheap.heard == b"y" * number
        assert all(2 <= order.count(call.protocol) <= 4 for call in flood)

    def test_connections_that_a_turn_has_no_time_for_are_the_first_ones_of_the_next(
        self, reactor: MemoryReactorClock, ears: BatchReader, connect: Connect
    ) -> None:
        order: list[Listener] = []
        calls = [connect(Slow(reactor, order)).join(ears) for _ in range(20)]
        for call in calls:
            call.peer.send(b"x")
        ears.doRead()
        assert len(order) == TURN / 0.002
        for call in calls:
            call.peer.send(b"x")
        self.next_turn(reactor)
        self.next_turn(reactor)
        assert len(order) == 3 * TURN / 0.002
        assert all(call.protocol in order[:20] for call in calls)

    def test_a_connection_that_is_lost_while_it_waits_for_the_next_turn_is_not_read(
        self, reactor: MemoryReactorClock, ears: BatchReader, connect: Connect
    ) -> None:
        order: list[Listener] = []
        calls = [connect(Slow(reactor, order)).join(ears) for _ in range(10)]
        for call in calls:
            call.peer.send(b"x")
        ears.doRead()
        (*_, last) = (call for call in calls if call.protocol not in order)
        assert last.line is not None
        ears.unregister(last.line)
        self.next_turn(reactor)
        assert len(order) == 9

    def test_a_backlog_is_resumed_before_more_is_read(
        self, reactor: MemoryReactorClock, ears: BatchReader, lines: list[Call]
    ) -> None:
        first, second = lines
        assert first.line is not None
        first.backlog = 3
        first.line.has_backlog = True
        first.peer.send(b"x")
        second.peer.send(b"y")
        ears.doRead()
        assert (first.resumed, first.heard, second.heard) == (1, b"", b"y")
        self.next_turn(reactor)
        self.next_turn(reactor)
        assert (first.resumed, first.heard) == (3, b"")
        self.next_turn(reactor)
        assert (first.resumed, first.heard) == (3, b"x")

    def test_a_backlog_is_resumed_without_new_data(
        self, reactor: MemoryReactorClock, ears: BatchReader, lines: list[Call]
    ) -> None:
        first, _ = lines
        assert first.line is not None
        first.peer.send(b"x")
        first.protocol.dataReceived = lambda _: setattr(first.line, "has_backlog", True)  # type: ignore[assignment, method-assign]
        first.backlog = 2
        ears.doRead()
        self.next_turn(reactor)
        assert first.resumed == 2
        assert waits(reactor, ears)

    def test_one_that_is_lost_is_not_resumed(
        self, reactor: MemoryReactorClock, ears: BatchReader, lines: list[Call]
    ) -> None:
        first, _ = lines
        assert first.line is not None
        first.backlog = 9
        first.line.has_backlog = True
        first.peer.send(b"x")
        ears.doRead()
        ears.unregister(first.line)
        self.next_turn(reactor)
        assert first.resumed == 1
