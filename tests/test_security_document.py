"""The figures in SECURITY.rst agree with the code."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from audiohookd.auth.keys import model
from audiohookd.auth.replay.store import MemoryReplayStore
from audiohookd.auth.signature import fields, message_signature
from audiohookd.config.schema import Limits, Listen
from audiohookd.edge import handshake_limiter, proxy_header
from audiohookd.edge.base_transport import READ_SIZE
from audiohookd.observe import admin_connections
from audiohookd.protocol.codec import MAX_RECEIVED
from audiohookd.protocol.timeouts import Timeouts
from audiohookd.session import driver, observer_queue, registry, session_view
from audiohookd.websocket import http_head, protocol, receive_limiter, send_limit
from audiohookd_plugins import recorder
from audiohookd_plugins.recorder import RecorderConfig

TEXT = (Path(__file__).parents[1] / "SECURITY.rst").read_text("utf-8")
NONCES = inspect.signature(MemoryReplayStore).parameters["limit"].default

#: The first words of a row of a table, with the figures in its second column.
ROWS: dict[str, list[Any]] = {
    "request line and headers": [http_head.MAX_HEAD],
    "headers in a request": [http_head.MAX_HEADERS],
    "``Signature-Input``": [fields.MAX_INPUT, fields.MAX_SIGNATURE],
    "signatures of a request that are verified": [fields.MAX_VERIFIED],
    "time to a complete request head": [Limits().handshake_timeout],
    "time to a complete PROXY header": [Limits().handshake_timeout],
    "PROXY header of version 1, of version 2": [proxy_header.MAX_V1, proxy_header.MAX_V2],
    "connections without a WebSocket": [protocol.PENDING_LIMIT + Listen().max_sessions],
    "unauthenticated handshakes per second": [Limits().handshakes_per_second],
    "the same, from all addresses": [Limits().handshakes_per_second_total],
    "addresses in the handshake limiter": [handshake_limiter.MAX_ADDRESSES],
    "rejected clients that hold a session": [protocol.REJECTED_SESSIONS_LIMIT],
    "clients asked to retry": [Listen().max_sessions // 2],
    "nonces that are remembered": [NONCES],
    "time from the WebSocket to ``open``": [Timeouts().client_open_timeout],
    "a message, text or audio": [MAX_RECEIVED],
    "a frame, and a message assembled from frames": [2 * MAX_RECEIVED],
    "octets read of one connection in one turn": [READ_SIZE],
    "frames of audio per second": [Limits().frames_per_second],
    "messages per second": [Limits().messages_per_second],
    "bytes of audio per second": [Limits().audio_bytes_per_second],
    "messages in one sidecar": [RecorderConfig().max_messages_size >> 20],
    "gaps in one sidecar": [recorder.MAX_GAPS],
    "octets of messages per second": [Limits().message_bytes_per_second],
    "WebSocket control frames per second": [Limits().control_frames_per_second],
    "fragments of messages per second": [Limits().fragments_per_second],
    "fragments of one message": [receive_limiter.MAX_FRAGMENTS],
    "octets queued for a client": [send_limit.UNREAD_LIMIT],
    "audio queued for a slow plugin": [observer_queue.AUDIO_LIMIT],
    "events of a plugin per second": [session_view.EVENTS.per_second],
    "octets of these events per second": [session_view.EVENT_BYTES.per_second],
    "time for a callback of a plugin": [driver.FINISH_TIME],
    "ended sessions with plugins that still work": [Listen().max_sessions + registry.SPARE_CONNECTIONS],
    "time without a message": [Timeouts().idle_timeout],
    "duration of a session": [Timeouts().max_duration],
    "time to receive the data sent before the end": [protocol.LINGER_TIME],
    "WebSocket connections": [2 * Listen().max_sessions + registry.SPARE_CONNECTIONS],
    "the same, of an owner with a quota": [2, registry.SPARE_CONNECTIONS_OF_OWNER],
    "sessions  ": [Listen().max_sessions],
}
#: The figures in sentences.
SENTENCES = [
    (
        f"is valid for {message_signature.MAX_AGE} s from ``created``, and clocks may be "
        f"{message_signature.CLOCK_SKEW} s apart"
    ),
    f"at least {message_signature.MIN_NONCE_LENGTH} characters",
    f"A rejection takes {protocol.REJECTION_TIME} s in total",
    f"for these {message_signature.MAX_AGE} s there are SQLite and Redis",
    (
        f"has {admin_connections.MAX_CONNECTIONS} connections at most at a time, and none for longer than "
        f"{admin_connections.MAX_DURATION:.0f} s"
    ),
    f"A secret of less than {model.SHORT_SECRET} bytes is accepted",
]


def figures(row: str) -> list[float]:
    (line,) = (line for line in TEXT.splitlines() if line.startswith(row))
    bound = re.split(r" {2,}", line)[1]
    return [float(figure.replace(",", "")) for figure in re.findall(r"[0-9][0-9,]*(?:\.[0-9]+)?(?<!,)", bound)]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_a_table_has_the_figure_of_the_code(row: str) -> None:
    assert figures(row) == [float(figure) for figure in ROWS[row]]


def test_every_row_with_a_figure_is_compared() -> None:
    rows = [line for line in TEXT.splitlines() if re.search(r"\S {2,}[0-9][0-9,]*", line)]
    assert len(rows) == len(ROWS)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_figure_in_a_sentence_is_that_of_the_code(sentence: str) -> None:
    assert sentence in " ".join(TEXT.split())


def test_no_personal_address_is_given() -> None:
    assert "@" not in TEXT
