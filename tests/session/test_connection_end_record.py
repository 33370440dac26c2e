"""How a connection ended, as the log and the plugins see it: each way that it can."""

import errno
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.logger import LogEvent, formatEvent
from twisted.python.failure import Failure

from audiohookd.session.connection_end import ConnectionEnd, by_close_frame, by_transport
from audiohookd.testing import SESSION_ID
from tests.websocket.server_rig import Plugin
from tests.websocket.websocket_rig import Peer, Server, binary, frame, text

CLOSE = struct.Struct("!H").pack


def close(code: int, reason: bytes = b"", masked: bool = True) -> bytes:
    return frame(8, CLOSE(code) + reason, masked=masked)


class Call:
    """A call with a plugin that keeps the session."""

    def __init__(self) -> None:
        self.plugin = Plugin()
        self.server = Server(plugin=self.plugin)
        self.peer: Peer = self.server.connect().opened()

    @property
    def end(self) -> Any:
        (session,) = self.plugin.sessions
        return session.connection_end

    def lose(self, reason: Exception) -> Any:
        self.peer.lose(reason)
        return self.end


@pytest.fixture
def call() -> Call:
    return Call()


def lines_of(logged: list[LogEvent]) -> list[str]:
    return [formatEvent(event) for event in logged if event.get("log_namespace") == "audiohookd.session"]


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013, 1014, 3000, 4999])
def test_a_close_frame_is_recorded_and_answered_and_is_no_fault(call: Call, code: int) -> None:
    call.peer.send(close(code, b"going away"))
    assert call.peer.frames() == [(8, CLOSE(1000))]
    assert call.lose(ConnectionDone()) == ConnectionEnd("close-frame", "client", code, "going away")
    assert call.server.counters.value("protocol_errors") == 0


def test_a_close_frame_without_a_code_is_recorded_as_such(call: Call) -> None:
    call.peer.send(frame(8))
    assert call.lose(ConnectionDone()) == ConnectionEnd("close-frame", "client")


def test_a_close_frame_without_a_mask_is_no_fault_of_the_client(call: Call, logged: list[LogEvent]) -> None:
    """Caddy 2.6 sends it to the server when it reloads."""
    call.peer.send(close(1001, b"", masked=False))
    ((opcode, payload),) = call.peer.frames()
    assert (opcode, payload[:2]) == (8, CLOSE(1002))
    assert call.lose(ConnectionDone()) == ConnectionEnd("close-frame", "client", 1001)
    assert call.server.counters.value("protocol_errors") == 0
    assert not any("broke the protocol" in line for line in lines_of(logged))


def test_a_close_code_that_means_nothing_is_a_fault(call: Call) -> None:
    call.peer.send(close(1006))
    ((opcode, payload),) = call.peer.frames()
    assert (opcode, payload[:2]) == (8, CLOSE(1002))
    assert call.lose(ConnectionDone()) == ConnectionEnd("close-frame", "client", 1006)
    assert call.server.counters.value("protocol_errors") == 1


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        (ConnectionDone(), ConnectionEnd("eof", "client")),
        (ConnectionLost(), ConnectionEnd("reset", "client")),
        (
            SSL.Error([("SSL routines", "", "tlsv1 alert unknown ca")]),
            "TLS failed (alert from the client: unknown ca)",
        ),
        (ZeroDivisionError(), ConnectionEnd("error", "server", reason="ZeroDivisionError while it was read")),
    ],
)
def test_an_end_without_a_close_frame_is_recorded(call: Call, reason: Exception, end: Any) -> None:
    assert call.lose(reason) == (ConnectionEnd("tls", "client", reason=end) if isinstance(end, str) else end)


def test_our_close_for_a_broken_protocol_is_recorded(call: Call) -> None:
    call.peer.send(text(b"\xff"))
    assert call.lose(ConnectionDone()).code == 1007
    assert (call.end.cause, call.end.by) == ("close-frame", "server")


def test_a_client_that_falls_silent_is_recorded_as_such(call: Call) -> None:
    for _ in range(60):
        call.server.clock.advance(0.5)
    assert call.peer.frames()[-1] == (8, CLOSE(1000))
    assert call.lose(ConnectionDone()) == ConnectionEnd("close-frame", "server", 1000, "no message from the client")


def test_a_client_that_does_not_read_is_recorded_as_such(call: Call) -> None:
    call.peer.protocol.transport.producer.pauseProducing()
    while not call.peer.is_aborted:
        call.peer.send(frame(9) * 1_000)
    assert call.lose(ConnectionAborted()) == ConnectionEnd("aborted", "server", reason="the client does not read")


def test_a_daemon_that_stops_is_recorded_as_such(call: Call) -> None:
    for connection in list(call.server.registry):
        connection.abort()
    assert call.end == ConnectionEnd("aborted", "server", reason="the daemon stops")


def test_a_session_that_was_over_before_has_none(call: Call) -> None:
    message = b'{"version":"2","id":"%s","type":"close","seq":2,"serverseq":1,"position":"PT0S","parameters":'
    call.peer.send(text(message % SESSION_ID.encode() + b'{"reason":"end"}}'))
    assert call.end is None


def test_the_log_has_it_where_the_session_was_not_over(call: Call, logged: list[LogEvent]) -> None:
    call.peer.send(binary(bytes(1600)) + close(1001, b"bye\r\n\x1b[31m"))
    call.lose(ConnectionDone())
    assert lines_of(logged)[-1] == (
        f"{SESSION_ID} ended after 0.1 s: connection-lost"
        r" (the peer closed the WebSocket with 1001 'bye\r\n\u001b[31m')"
    )


@given(st.one_of(st.none(), st.integers(0, 65_535)), st.one_of(st.none(), st.binary(max_size=123)))
def test_any_reason_of_a_peer_is_one_short_printable_line(code: int | None, reason: bytes | None) -> None:
    line = str(by_close_frame(code, reason))
    assert line.isprintable()
    assert len(line) < 1_500


@pytest.mark.parametrize(
    ("fault", "is_at_end", "reason", "cause"),
    [
        (errno.ECONNRESET, False, ConnectionDone, "reset"),
        (errno.EPIPE, False, ConnectionLost, "reset"),
        (errno.ETIMEDOUT, False, ConnectionDone, "timeout"),
        (errno.EHOSTUNREACH, False, ConnectionDone, "error"),
        (0, True, ConnectionLost, "eof"),  # TLS without its own end
        (0, False, ConnectionLost, "reset"),
        (errno.ECONNRESET, False, ConnectionAborted, "aborted"),
    ],
)
def test_an_error_of_the_socket_decides_the_cause(
    fault: int, is_at_end: bool, reason: Callable[[], Exception], cause: str
) -> None:
    assert by_transport(Failure(reason()), fault, is_at_end).cause == cause


@pytest.mark.parametrize(
    ("end", "line"),
    [
        (ConnectionEnd("eof", "client"), "the peer closed TCP without a WebSocket close frame"),
        (ConnectionEnd("reset", "client"), "TCP was reset by the peer or a device on the path"),
        (ConnectionEnd("timeout", "client"), "TCP timed out"),
        (ConnectionEnd("tls", "client", reason="TLS failed"), "TLS failed"),
        (ConnectionEnd("close-frame", "client"), "the peer closed the WebSocket with no code"),
        (ConnectionEnd("close-frame", "server", 1009, "too big"), "closed by the daemon with 1009: too big"),
        (ConnectionEnd("aborted", "server", reason="slow"), "dropped by the daemon: slow"),
        (ConnectionEnd("aborted", "server"), "dropped by the daemon"),
    ],
)
def test_each_has_words(end: ConnectionEnd, line: str) -> None:
    assert str(end) == line
