"""The states of a session, and what each message means in each of them (protocol section 5.2).

Two rules. Everything that decides whether a message is legal lives in this file. A pair that is neither in
:data:`LEGAL` nor in :data:`TOLERATED` is the peer's fault and ends in ``disconnect error``.

Pause is no state but two flags inside OPEN: what we asked for, and what the client reported. Both sides may pause
at once, and a state would forget one of them.
"""

from enum import Enum, auto
from typing import Final


class State(Enum):
    """Where a session stands."""

    __hash__ = object.__hash__  # in place of Enum's, which is Python: four lookups for each message

    PREPARING = auto()  #: connected, waiting for ``open``
    OPENING = auto()  #: ``open`` came, ``opened`` is still ours to send
    OPEN = auto()  #: audio may flow
    DISCONNECTING = auto()  #: we sent ``disconnect``, the client's ``close`` is due
    CLOSING = auto()  #: ``close`` came, plugins may still send events
    CLOSED = auto()  #: we sent ``closed``, the client ends the connection
    GONE = auto()  #: there is no connection any more


PREPARING, OPENING, OPEN, DISCONNECTING, CLOSING, CLOSED, GONE = State

#: States in which a broken message is counted and no more: we have already said that it is over, and a client
#: whose counters are off must still get its ``closed``.
LENIENT: Final = frozenset({DISCONNECTING, CLOSING, CLOSED, GONE})

#: (state, type of message) -> the method of Session that acts on it.
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

_LATE = ("paused", "resumed", "discarded", "update", "dtmf", "playback_started", "playback_completed")

#: Legal enough to go on: counted under the type's name, otherwise ignored.
TOLERATED: Final[frozenset[tuple[State, str]]] = frozenset(
    {(PREPARING, type_) for type_ in ("update", "dtmf", "playback_started", "playback_completed")}
    | {
        (OPENING, type_)
        for type_ in ("paused", "resumed", "discarded", "dtmf", "playback_started", "playback_completed")
    }
    | {(DISCONNECTING, type_) for type_ in ("open", *_LATE)}
    | {(CLOSING, type_) for type_ in ("open", "close", *_LATE) if (CLOSING, type_) not in LEGAL}
    | {(CLOSED, type_) for type_ in ("open", "close", "ping", *_LATE)}
)
