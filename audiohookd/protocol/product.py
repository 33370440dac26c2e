"""The products of Genesys Cloud that use AudioHook (protocol section 8.1)."""

from enum import StrEnum


class Product(StrEnum):
    """The product that calls. The protocol does not name it, so that the path of the route decides."""

    MONITOR = "monitor"
    TRANSCRIPTION = "transcription-connector"
    #: Bots: the only product whose client plays audio.
    AUDIO = "audio-connector"
    #: Speech recognition for bots.
    BOT_TRANSCRIPTION = "bot-transcription-connector"
