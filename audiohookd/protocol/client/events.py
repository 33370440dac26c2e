"""Events of the client's side of a session, in addition to :mod:`audiohookd.protocol.events`."""

from typing import Any

from audiohookd.protocol import events
from audiohookd.protocol.media import Media


class Accepted(events.Opened, frozen=True):
    """``opened`` was received. ``media`` is the server's selection; None for no audio."""

    media: Media | None
    #: None if the server did not send them.
    supported_languages: tuple[str, ...] | None
    #: True if the server wants no audio until it sends ``resume``.
    start_paused: bool = False
    #: The duration up to which the server wants no audio; None if it wants all audio.
    discard_to: str | None = None


class Results(events.Event, frozen=True):
    """An ``event`` of the server: its entities as decoded JSON."""

    entities: tuple[dict[str, Any], ...]


class Heard(events.Event, frozen=True):
    """Audio of the server (Audio Connector).

    :param start: the position in samples at which the caller hears it.
    """

    start: int
    data: bytes


class Stopped(events.Event, frozen=True):
    """The server stopped its audio by ``barge_in``: the caller hears nothing from the position ``start`` on."""

    start: int


class Disconnected(events.Event, frozen=True):
    """The server sent ``disconnect``; the client has answered with ``close``."""

    reason: str
    info: str | None
    output_variables: dict[str, str] | None = None
