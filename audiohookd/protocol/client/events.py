"""What the client's side of a session reports of the server's messages, beside :mod:`audiohookd.protocol.events`."""

from typing import Any

from audiohookd.protocol import events
from audiohookd.protocol.media import Media


class Accepted(events.Opened, frozen=True):
    """``opened`` came: what the server selected (None: no audio), and the languages that it listed."""

    media: Media | None
    #: None when the server did not send them.
    supported_languages: tuple[str, ...] | None
    #: The server wants no audio before it sends ``resume``.
    start_paused: bool = False
    #: Up to which position the server wants no audio, a duration; None for all of it.
    discard_to: str | None = None


class Results(events.Event, frozen=True):
    """An ``event`` of the server: its entities as decoded JSON."""

    entities: tuple[dict[str, Any], ...]


class Disconnected(events.Event, frozen=True):
    """The server asked for the end; ``close`` has been sent."""

    reason: str
    info: str | None
    output_variables: dict[str, str] | None = None
