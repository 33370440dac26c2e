"""What goes past transport and protocol: messages on a line that is clear, and answers."""

import pytest
from twisted.internet.testing import MemoryReactorClock

from audiohookd.websocket.fastpath.batch_reader import MAX_INTERVAL, BatchReader
from tests.websocket.batch_reader_rig import Call, Connect, Listener
from tests.websocket.websocket_rig import binary, frame, text


@pytest.mark.parametrize("is_plain", [True, False])
def test_an_answer_is_sent_at_once(
    is_plain: bool, reactor: MemoryReactorClock, ears: BatchReader, connect: Connect
) -> None:
    class Answerer(Listener):
        def dataReceived(self, data: bytes) -> None:
            line.say(b"pong", ears)

    line = connect(Answerer())
    line.join(ears)
    assert line.line is not None
    line.line.is_raw_tcp = is_plain
    line.peer.send(b"ping")
    ears.doRead()
    assert line.peer.recv(100) == b"pong"
    assert line.transport not in reactor.getWriters()


def test_answers_keep_their_order(ears: BatchReader, connect: Connect) -> None:
    class Answerer(Listener):
        def dataReceived(self, data: bytes) -> None:
            line.transport.write(b"one ")
            line.say(b"two", ears)

    line = connect(Answerer())
    line.join(ears)
    line.peer.send(b"ping")
    ears.doRead()
    assert line.peer.recv(100) == b"one two"


def test_whom_no_answer_reaches_is_the_reactors(
    reactor: MemoryReactorClock, ears: BatchReader, connect: Connect
) -> None:
    class Answerer(Listener):
        def dataReceived(self, data: bytes) -> None:
            line.peer.close()
            line.say(b"pong", ears)

    line = connect(Answerer())
    line.join(ears)
    line.peer.send(b"ping")
    ears.doRead()
    assert line.transport in reactor.getWriters()


def test_unsent_data_is_left_to_the_reactor(reactor: MemoryReactorClock, ears: BatchReader, connect: Connect) -> None:
    class Talker(Listener):
        def dataReceived(self, data: bytes) -> None:
            line.say(bytes(4_000_000), ears)

    line = connect(Talker())
    line.join(ears)
    line.peer.send(b"ping")
    ears.doRead()
    assert line.transport in reactor.getWriters()


def test_a_connection_that_closes_after_its_answer_is_left_to_the_reactor(
    reactor: MemoryReactorClock, ears: BatchReader, connect: Connect
) -> None:
    class Leaver(Listener):
        def dataReceived(self, data: bytes) -> None:
            line.say(b"bye", ears)
            self.transport.loseConnection()

    line = connect(Leaver())
    line.join(ears)
    line.peer.send(b"ping")
    ears.doRead()
    assert line.transport in reactor.getWriters()  # which ends the connection once that is written
    assert not line.transport.disconnected


def test_data_for_another_connection_is_left_to_the_reactor(
    reactor: MemoryReactorClock, ears: BatchReader, connect: Connect
) -> None:
    other = connect()
    other.join(ears)

    class Neighbour(Listener):
        def dataReceived(self, data: bytes) -> None:
            other.say(b"psst", ears)

    line = connect(Neighbour())
    line.join(ears)
    line.peer.send(b"data")
    ears.doRead()
    assert other.transport in reactor.getWriters()


def test_on_a_clear_line_audio_goes_past_the_protocol(ears: BatchReader, lines: list[Call]) -> None:
    clear, other = lines
    clear.line.fast_path = True
    for line in lines:
        line.peer.send(binary(b"one") + binary(b"two"))
    ears.doRead()
    assert (clear.taken, clear.heard) == ([b"one", b"two"], b"")
    assert (other.taken, other.heard) == ([], binary(b"one") + binary(b"two"))


def test_so_does_a_text(ears: BatchReader, lines: list[Call]) -> None:
    clear, other = lines
    clear.line.fast_path = True
    for line in lines:
        line.peer.send(binary(b"one") + text(b"{}"))
    ears.doRead()
    assert (clear.taken, clear.texts, clear.heard) == ([b"one"], [b"{}"], b"")
    assert (other.taken, other.texts, other.heard) == ([], [], binary(b"one") + text(b"{}"))


@pytest.mark.parametrize("other", [text(b"{}") + b"\x81", text(b"{}")[:-1], text(b"\xff"), frame(9, b"ping")])
def test_a_partial_message_is_left_to_the_protocol(other: bytes, ears: BatchReader, lines: list[Call]) -> None:
    line = lines[0]
    line.line.fast_path = True
    line.peer.send(other)
    ears.doRead()
    assert (line.texts, line.heard) == ([], other)


def test_a_text_message_is_left_to_the_protocol(ears: BatchReader, lines: list[Call]) -> None:
    line = lines[0]
    line.line.fast_path = True
    line.peer.send(binary(b"one") + text(b"{}") + binary(b"two"))
    ears.doRead()
    assert (line.taken, line.heard) == ([b"one"], text(b"{}") + binary(b"two"))


def test_audio_that_obstructs_the_line_is_the_last(ears: BatchReader, connect: Connect) -> None:
    line = connect()
    taken: list[bytes] = []

    def take(message: bytes) -> None:
        taken.append(message)
        attended.fast_path = False

    attended = ears.register(line.transport, take, line.texts.append, line.resume)
    assert attended is not None
    attended.fast_path = True
    line.peer.send(binary(b"one") + binary(b"two"))
    ears.doRead()
    assert (taken, line.heard) == ([b"one"], b"")


def test_the_end_of_a_clear_line_is_the_reactors(
    reactor: MemoryReactorClock, ears: BatchReader, lines: list[Call]
) -> None:
    line = lines[0]
    line.line.fast_path = True
    line.peer.send(binary(b"last"))
    line.peer.close()
    ears.doRead()
    reactor.advance(MAX_INTERVAL)
    assert line.taken == [b"last"]
    assert line.transport in reactor.getReaders()
