"""Makes the client's media offers, and checks the server's answers. For :mod:`audiohookd.protocol.client.session`."""

from typing import Any

import msgspec
from msgspec import Raw

from audiohookd.protocol.entities import is_named, parse_entity
from audiohookd.protocol.media import Channel, Format, Media, parse_offers

_MONO: tuple[tuple[Channel, ...], ...] = (("external",),)
_STEREO: tuple[tuple[Channel, ...], ...] = (("external", "internal"), ("external",), ("internal",))


class ServerProtocolError(Exception):
    """The server broke the protocol. Never leaves the client's session: it becomes an ``error`` message.

    :ivar code: of the ``error`` message (protocol section 3.2).
    :ivar text: a constant, for the wire; the exception's own text has the details, for our report.
    """

    def __init__(self, code: int, text: str, detail: str = "") -> None:
        super().__init__(f"{text} ({detail})" if detail else text)
        self.code = code
        self.text = text


def offers(channels: int) -> tuple[Raw, ...]:
    """What Genesys Cloud offers for a source of one or two channels, the best first."""
    return tuple(Media(Format.PCMU, names).to_wire() for names in (_STEREO if channels == 2 else _MONO))


def selected(selection: tuple[Raw, ...], offered: tuple[Raw, ...]) -> Media | None:
    """The medium that the server selected; None when it wants no audio.

    :raises Complaint: more than one, or none of those ``offered``, unmodified.
    """
    if len(selection) > 1:
        raise ServerProtocolError(400, "more than one medium selected")
    if not selection:
        return None
    try:
        wanted = msgspec.json.decode(selection[0])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        wanted = None
    for offer in offered:
        if msgspec.json.decode(offer) == wanted:
            return parse_offers((offer,))[0]
    raise ServerProtocolError(400, "selected medium was not offered", ascii(bytes(selection[0])[:100]))


def check_entity(entity: Any) -> None:
    """Sees that an entity, as decoded JSON, has a type and data; and those of a type we know, as they must be.

    :raises Complaint: it is not so.
    """
    if not is_named(entity):
        raise ServerProtocolError(400, "entity malformed", "without type or data")
    try:
        parse_entity(entity)
    except msgspec.ValidationError as fault:
        raise ServerProtocolError(400, "entity malformed", f"{entity['type'][:64]}: {fault}") from None
