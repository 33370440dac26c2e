"""Media offers, formats, and the arithmetic of frames (protocol section 8)."""

from enum import StrEnum
from typing import Literal

import msgspec

from audiohookd.protocol import json_text


class Format(StrEnum):
    """The supported encodings."""

    PCMU = "PCMU"
    L16 = "L16"

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample of one channel."""
        return 1 if self is Format.PCMU else 2

    @property
    def silence(self) -> bytes:
        """One sample of silence: 0xFF in µ-law, where 0x00 would be a full-scale click."""
        return b"\xff" if self is Format.PCMU else b"\0\0"


Channel = Literal["external", "internal"]
#: ``bot``: in recordings, what an Audio Connector plays to the caller.
RecordedChannel = Channel | Literal["bot"]


class Media(msgspec.Struct, frozen=True):
    """A supported media offer, or the selected one.

    ``channels`` names the party on each channel, in the order of the interleaved samples. The order is not fixed:
    ``[internal, external]`` is valid, too. Equality ignores ``raw``.
    """

    format: Format
    channels: tuple[RecordedChannel, ...]
    rate: int = 8000
    #: The offer as received, byte for byte: the selection must be sent back unmodified.
    raw: msgspec.Raw = msgspec.Raw(b"")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels; audio messages are multiples of it."""
        return self.format.sample_bytes * len(self.channels)

    def silence(self, samples: int) -> bytes:
        """Returns ``samples`` (per channel) of silence in this format."""
        return self.format.silence * (samples * len(self.channels))

    def to_wire(self) -> msgspec.Raw:
        """The JSON text of this selection."""
        if bytes(self.raw):
            return self.raw
        parts = {"type": "audio", "format": self.format, "channels": self.channels, "rate": self.rate}
        return msgspec.Raw(msgspec.json.encode(parts))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Media):
            return NotImplemented
        return (self.format, self.channels, self.rate) == (other.format, other.channels, other.rate)

    def __hash__(self) -> int:
        return hash((self.format, self.channels, self.rate))


class _Offer(msgspec.Struct, frozen=True):
    type: Literal["audio"]
    format: Format
    channels: tuple[Channel, ...]
    rate: Literal[8000]


_offer = msgspec.json.Decoder(_Offer)
#: The most offers that are read. Genesys Cloud sends three to six. An ``open`` of 60 KB with 30,000 of them blocked
#: the reactor for 0.4 s.
MAX_OFFERS = 64


def parse_offers(offers: tuple[msgspec.Raw, ...]) -> tuple[Media, ...]:
    """The supported ``offers`` of the client, in its order.

    An unsupported offer is skipped, because Genesys may add formats at any time. Only the first :data:`MAX_OFFERS`
    are read.
    """
    found = []
    for raw in offers[:MAX_OFFERS]:
        try:
            offer = json_text.decode(_offer, raw)
        except ValueError:
            continue
        if 1 <= len(offer.channels) <= 2 and len(set(offer.channels)) == len(offer.channels):
            found.append(Media(offer.format, offer.channels, offer.rate, raw.copy()))
    return tuple(found)


ChannelChoice = Literal["both", "external", "internal"]


class MediaPreference(msgspec.Struct, frozen=True):
    """Which offers a route accepts.

    :param formats: the accepted formats, the preferred one first. PCMU by default, because the byte order of L16 is
        not documented.
    :param channels: the accepted channels, the preferred ones first; empty for all, in the client's order.
    :param audio: False for sessions without audio.
    """

    formats: tuple[Format, ...] = (Format.PCMU, Format.L16)
    channels: tuple[ChannelChoice, ...] = ()
    audio: bool = True

    def accepted(self, offers: tuple[Media, ...]) -> tuple[Media, ...]:
        """The accepted offers, sorted by channels."""
        accepted = [media for media in offers if self.audio and media.format in self.formats]
        if not self.channels:
            return tuple(accepted)
        chosen = {str(choice): rank for rank, choice in enumerate(self.channels)}
        accepted = [media for media in accepted if _choice(media) in chosen]
        return tuple(sorted(accepted, key=lambda media: chosen[_choice(media)]))

    def best(self, media: tuple[Media, ...]) -> Media | None:
        """The first of the preferred format; None if there is none."""
        return min(media, key=lambda medium: self.formats.index(medium.format), default=None)


def _choice(media: Media) -> str:
    return "both" if len(media.channels) == 2 else media.channels[0]
