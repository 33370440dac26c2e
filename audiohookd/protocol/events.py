"""What a session tells its driver: small frozen values without behaviour, in the order in which things happened."""

from enum import StrEnum

from msgspec import Struct

from audiohookd.protocol.media import Media
from audiohookd.protocol.messages import Open


class Event(Struct, frozen=True):
    """Base of all."""


class OpenRequested(Event, frozen=True):
    """The client asks for a session: answer with ``Session.accept`` or ``Session.disconnect``."""

    request: Open
    offers: tuple[Media, ...]


class Opened(Event, frozen=True):
    """``opened`` was sent."""


class GapCause(StrEnum):
    """Why a stretch of the call's time holds no audio."""

    PAUSED = "paused"  #: between ``paused`` and ``resumed``
    DISCARDED = "discarded"  #: lost by the client, or skipped at our wish
    OVERFLOW = "overflow"  #: this sink was too slow


class Gap(Event, frozen=True):
    """A stretch without audio: ``samples`` (per channel) from the position ``start`` on."""

    start: int
    samples: int
    cause: GapCause


class Paused(Event, frozen=True):
    """The client has stopped to send audio."""


class Resumed(Event, frozen=True):
    """The client sends audio again. A :class:`Gap` for what was not sent came just before."""


class LanguageChanged(Event, frozen=True):
    """The client changed the language, spelled as it came."""

    language: str


class Message(Event, frozen=True):
    """A protocol message as it crossed the wire."""

    outgoing: bool
    data: bytes


class RoundTrip(Event, frozen=True):
    """The round trip that the client measured, in nanoseconds."""

    nanoseconds: int


class Dtmf(Event, frozen=True):
    """The caller pressed a key."""

    digit: str


class Playback(Event, frozen=True):
    """The client began, or ended, to play our audio to the caller."""

    started: bool


class PeerError(Event, frozen=True):
    """The client complained; it says how long to hold back (nanoseconds) when we sent too much."""

    code: int
    message: str
    retry_after: int | None


class Tolerated(Event, frozen=True):
    """Something that should not happen and does no harm. To be counted, and logged once per session."""

    what: str


class Fault(Event, frozen=True):
    """The client broke the protocol; ``disconnect`` has been sent."""

    detail: str


class Closing(Event, frozen=True):
    """The client closes: deliver last events, then call ``Session.finish``."""

    reason: str


class Ended(Event, frozen=True):
    """The last event of a session.

    ``reason`` is that of the client's ``close`` (``end``, ``error``, ``disconnect``, ``reconnect``), or
    :data:`CONNECTION_LOST` when there was none.
    """

    reason: str


CONNECTION_LOST = "connection-lost"
