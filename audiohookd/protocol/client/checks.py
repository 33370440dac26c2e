"""Builds the client's media offers and checks the server's answers, for :mod:`audiohookd.protocol.client.session`."""

from typing import Any

import msgspec
from msgspec import Raw

from audiohookd.protocol.entities import is_named, parse_entity
from audiohookd.protocol.media import Channel, Format, Media, parse_offers

_MONO: tuple[tuple[Channel, ...], ...] = (("external",),)
_STEREO: tuple[tuple[Channel, ...], ...] = (("external", "internal"), ("external",), ("internal",))


class ServerProtocolError(Exception):
    """The server broke the protocol. The client's session handles it by an ``error`` message; it never leaves it.

    :ivar code: the code of the ``error`` message (protocol section 3.2).
    :ivar text: a constant text that is sent to the server; the text of the exception has the details for the report.
    """

    def __init__(self, code: int, text: str, detail: str = "") -> None:
        super().__init__(f"{text} ({detail})" if detail else text)
        self.code = code
        self.text = text


def offers(channels: int) -> tuple[Raw, ...]:
    """The media that Genesys Cloud offers for one or two channels, the preferred one first."""
    return tuple(Media(Format.PCMU, names).to_wire() for names in (_STEREO if channels == 2 else _MONO))


def selected(selection: tuple[Raw, ...], offered: tuple[Raw, ...]) -> Media | None:
    """Returns the medium that the server selected; None if it selected no audio.

    :raises ServerProtocolError: the server selected more than one medium, or changed or invented an offer.
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
    """Checks that an entity, as decoded JSON, has a type and data, and valid content if its type is known.

    :raises ServerProtocolError: the entity is malformed.
    """
    if not is_named(entity):
        raise ServerProtocolError(400, "entity malformed", "without type or data")
    try:
        parse_entity(entity)
    except msgspec.ValidationError as fault:
        raise ServerProtocolError(400, "entity malformed", f"{entity['type'][:64]}: {fault}") from None
