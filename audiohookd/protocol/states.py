"""The states of a session, and the messages and the audio that are legal in each of them (protocol section 5.2).

Only this module decides whether a message is legal. A pair of state and message that is neither in :data:`LEGAL` nor
in :data:`TOLERATED` is a protocol error of the peer and leads to ``disconnect error``.

Pause is not a state but two flags in OPEN: one for the server's request and one for the client's report. Both sides
may pause at the same time, which one state could not express.
"""

from enum import Enum, auto
from typing import Final

from audiohookd.protocol.codec import MAX_RECEIVED
from audiohookd.protocol.errors import RemoteProtocolError


class State(Enum):
    """The state of a session."""

    __hash__ = object.__hash__  # faster than Enum's, which is written in Python: four lookups per message

    PREPARING = auto()  #: connected, waiting for ``open``
    OPENING = auto()  #: ``open`` was received, ``opened`` is not sent yet
    OPEN = auto()  #: audio is accepted
    DISCONNECTING = auto()  #: ``disconnect`` was sent, waiting for ``close``
    CLOSING = auto()  #: ``close`` was received, plugins may still send events
    CLOSED = auto()  #: ``closed`` was sent, waiting for the client to end the connection
    GONE = auto()  #: the connection is lost


PREPARING, OPENING, OPEN, DISCONNECTING, CLOSING, CLOSED, GONE = State

#: States in which an invalid message is only counted. The session is ending, and even a client with wrong counters
#: must receive its ``closed``.
LENIENT: Final = frozenset({DISCONNECTING, CLOSING, CLOSED, GONE})

#: The method of Session that handles a message, by state and type.
LEGAL: Final[dict[tuple[State, str], str]] = {
    (PREPARING, "open"): "_on_open",
    (PREPARING, "ping"): "_on_ping",
    (PREPARING, "close"): "_on_close",
    (PREPARING, "error"): "_on_error",
    (OPENING, "ping"): "_on_ping",
    (OPENING, "update"): "_on_update_early",
    (OPENING, "close"): "_on_close",
    (OPENING, "error"): "_on_error",
    (OPEN, "ping"): "_on_ping",
    (OPEN, "paused"): "_on_paused",
    (OPEN, "resumed"): "_on_resumed",
    (OPEN, "discarded"): "_on_discarded",
    (OPEN, "update"): "_on_update",
    (OPEN, "dtmf"): "_on_dtmf",
    (OPEN, "playback_started"): "_on_playback_started",
    (OPEN, "playback_completed"): "_on_playback_completed",
    (OPEN, "close"): "_on_close",
    (OPEN, "error"): "_on_error",
    (DISCONNECTING, "ping"): "_on_ping",
    (DISCONNECTING, "close"): "_on_close",
    (DISCONNECTING, "error"): "_on_error",
    (CLOSING, "ping"): "_on_ping",
    (CLOSING, "resumed"): "_on_resumed",
    (CLOSING, "discarded"): "_on_discarded",
    (CLOSING, "error"): "_on_error",
    (CLOSED, "error"): "_on_error",
}

#: The anomaly of a client that sends audio although it reported a pause.
AUDIO_WHILE_PAUSED: Final = "audio-while-paused"

_LATE = ("paused", "resumed", "discarded", "update", "dtmf", "barge_in", "playback_started", "playback_completed")

#: Messages that are ignored and counted under the name of their type.
TOLERATED: Final[frozenset[tuple[State, str]]] = frozenset(
    {(PREPARING, type_) for type_ in ("update", "dtmf", "barge_in", "playback_started", "playback_completed")}
    | {(OPEN, "barge_in")}
    | {
        (OPENING, type_)
        for type_ in ("paused", "resumed", "discarded", "dtmf", "barge_in", "playback_started", "playback_completed")
    }
    | {(DISCONNECTING, type_) for type_ in ("open", *_LATE)}
    | {(CLOSING, type_) for type_ in ("open", "close", *_LATE) if (CLOSING, type_) not in LEGAL}
    | {(CLOSED, type_) for type_ in ("open", "close", "ping", *_LATE)}
)


def classify_unexpected_audio(state: State, size: int, frame_bytes: int, paused: bool) -> str | RemoteProtocolError:
    """Decides whether unexpected audio of ``size`` bytes is a protocol error.

    :param frame_bytes: bytes of one sample of all channels while audio is accepted, else 0.
    :param paused: True if the client reported a pause.
    :returns: the error, or the name under which the anomaly is counted.
    """
    if state in (State.PREPARING, State.OPENING):
        return RemoteProtocolError("audio not expected", f"while {state.name}")
    if state is not State.OPEN:
        return "audio-late"
    if size > MAX_RECEIVED:
        return RemoteProtocolError("message too large", f"{size} bytes")
    if not frame_bytes:
        return AUDIO_WHILE_PAUSED if paused else "audio-without-media"
    if size % frame_bytes:
        return RemoteProtocolError("audio holds part of a sample", f"{size} bytes in frames of {frame_bytes}")
    return RemoteProtocolError("position too far", f"{size} bytes of audio beyond the longest session")
