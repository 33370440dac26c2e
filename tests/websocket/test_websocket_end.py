"""The end of a WebSocket, and a client that does not read."""

import struct

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted

from audiohookd.testing import SESSION_ID
from audiohookd.websocket.protocol import LINGER_TIME
from audiohookd.websocket.send_limit import UNREAD_LIMIT
from tests.websocket.websocket_rig import OPEN, Server, frame, request_head, text

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


def test_a_client_that_does_not_read_the_rest_is_dropped() -> None:
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
    assert len(server.factory.pending) == 0


def test_the_protocol_lets_go_of_its_call() -> None:
    server = Server()
    peer = server.connect().opened()
    peer.lose()
    peer.protocol.send(b"{}")
    peer.protocol.close("over")
    assert peer.answer() == b""
    assert peer.protocol._connection is None


# ---- a client that does not read ---------------------------------------------------------------------


def ping(seq: int) -> bytes:
    message = b'{"version":"2","id":"%s","type":"ping","seq":%d,"serverseq":1,"position":"PT0S","parameters":{}}'
    return text(message % (SESSION_ID.encode(), seq))


def test_a_client_with_too_much_unread_data_is_dropped() -> None:
    server = Server()
    peer = server.connect().opened()
    peer.protocol.transport.producer.pauseProducing()
    seq = 2
    while not peer.is_aborted and seq < 20_000:
        peer.send(ping(seq))
        seq += 1
    assert peer.is_aborted
    assert len(peer.answer()) <= UNREAD_LIMIT
    assert server.counters.value("slow_clients_dropped") == 1
    peer.lose(ConnectionAborted())
    assert server.sink.calls[-1] == ("closed", "connection-lost")


def test_a_client_that_reads_in_time_is_not_dropped() -> None:
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
    assert server.counters.value("slow_clients_dropped") == 1


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
