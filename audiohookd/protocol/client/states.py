"""The states of the client's side of a session, and what each message of the server means in each of them.

A pair that is not in :data:`LEGAL` is the server's fault and ends in ``error`` 409 and ``close``.
"""

from enum import Enum, auto
from typing import Final


class ClientState(Enum):
    """Where the client's side of a session stands."""

    __hash__ = object.__hash__  # see State

    NEW = auto()  #: nothing sent
    OPENING = auto()  #: ``open`` sent
    OPEN = auto()  #: ``opened`` came
    CLOSING = auto()  #: ``close`` sent
    CLOSED = auto()  #: ``closed`` came
    GONE = auto()  #: there is no connection any more


NEW, OPENING, OPEN, CLOSING, CLOSED, GONE = ClientState

#: (state, type of message) -> the method of ClientSession that acts on it.
LEGAL: Final[dict[tuple[ClientState, str], str]] = {
    (OPENING, "opened"): "_on_opened",
    (OPENING, "disconnect"): "_on_disconnect",
    (OPEN, "pong"): "_on_pong",
    (OPEN, "pause"): "_on_pause",
    (OPEN, "resume"): "_on_resume",
    (OPEN, "updated"): "_on_updated",
    (OPEN, "event"): "_on_event",
    (OPEN, "reconnect"): "_on_reconnect",
    (OPEN, "disconnect"): "_on_disconnect",
    (CLOSING, "pong"): "_on_pong",
    (CLOSING, "event"): "_on_event",
    (CLOSING, "disconnect"): "_on_disconnect",
    (CLOSING, "closed"): "_on_closed",
    # Sent before our close had arrived: legal, and too late to matter.
    (CLOSING, "opened"): "_on_crossing",
    (CLOSING, "pause"): "_on_crossing",
    (CLOSING, "resume"): "_on_crossing",
    (CLOSING, "updated"): "_on_crossing",
    (CLOSING, "reconnect"): "_on_crossing",
}
