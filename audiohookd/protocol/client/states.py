"""The states of the client's side of a session, and the server messages that are legal in each of them.

A pair that is not in :data:`LEGAL` is a protocol error of the server and leads to ``error`` 409 and ``close``.
"""

from enum import Enum, auto
from typing import Final


class ClientState(Enum):
    """The state of the client's side of a session."""

    __hash__ = object.__hash__  # see State

    NEW = auto()  #: nothing sent
    OPENING = auto()  #: ``open`` sent
    OPEN = auto()  #: ``opened`` received
    CLOSING = auto()  #: ``close`` sent
    CLOSED = auto()  #: ``closed`` received
    GONE = auto()  #: the connection is lost


NEW, OPENING, OPEN, CLOSING, CLOSED, GONE = ClientState

#: The method of ClientSession that handles a message, by state and type.
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
    # The server sent these before it received ``close``: legal, and ignored.
    (CLOSING, "opened"): "_ignore_late",
    (CLOSING, "pause"): "_ignore_late",
    (CLOSING, "resume"): "_ignore_late",
    (CLOSING, "updated"): "_ignore_late",
    (CLOSING, "reconnect"): "_ignore_late",
}
