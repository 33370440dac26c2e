"""The events that a session reports to its driver, as frozen values, in order."""

from enum import StrEnum
from typing import Any

from msgspec import Struct

from audiohookd.protocol.media import Media
from audiohookd.protocol.messages import Open


class Event(Struct, frozen=True):
    """Base class of all events."""


class OpenRequested(Event, frozen=True):
    """The client asks for a session: answer with ``Session.accept`` or ``Session.disconnect``."""

    request: Open
    offers: tuple[Media, ...]


class Opened(Event, frozen=True):
    """``opened`` was sent."""


class GapCause(StrEnum):
    """Why a part of the call has no audio."""

    PAUSED = "paused"  #: between ``paused`` and ``resumed``
    DISCARDED = "discarded"  #: lost by the client, or skipped as ``discardTo`` asked
    OVERFLOW = "overflow"  #: the queue of a slow sink was full


class Gap(Event, frozen=True):
    """A part of the call without audio: ``samples`` (per channel) from the position ``start`` on."""

    start: int
    samples: int
    cause: GapCause


class Paused(Event, frozen=True):
    """The client has stopped sending audio."""


class Resumed(Event, frozen=True):
    """The client sends audio again. A :class:`Gap` for the pause precedes it."""


class LanguageChanged(Event, frozen=True):
    """The client changed the language; spelled as received."""

    language: str


class Message(Event, frozen=True):
    """A protocol message that was sent or received, as JSON text."""

    outgoing: bool
    data: bytes


class RoundTrip(Event, frozen=True):
    """The round-trip time that the client measured, in nanoseconds."""

    nanoseconds: int


class Dtmf(Event, frozen=True):
    """The caller pressed a key."""

    digit: str


class AudioWhilePaused(Event, frozen=True):
    """The client sent audio although it had reported a pause. It is dropped: the pause may protect a card number.

    :param position: in samples.
    :param size: bytes.
    """

    position: int
    size: int


class Playback(Event, frozen=True):
    """The client started or finished playing the server's audio to the caller."""

    started: bool


class AudioSent(Event, frozen=True):
    """Audio was sent to an Audio Connector, which plays it from about the position ``start`` on."""

    start: int
    data: bytes


class AudioDropped(Event, frozen=True):
    """The client was asked to drop the sent audio that it has not played at the position ``start`` (``barge_in``)."""

    start: int


class TimeLimitNear(Event, frozen=True):
    """The client ends the session in about ``seconds``."""

    seconds: float


class PeerError(Event, frozen=True):
    """The client reported an error. ``retry_after`` (nanoseconds) is set if the server must back off."""

    code: int
    message: str
    retry_after: int | None


class Unsent(Event, frozen=True):
    """Entities that ``Session.send_event`` accepted from ``owner``, and that the client's limits did not let out."""

    owner: str
    entities: tuple[Any, ...]


class Tolerated(Event, frozen=True):
    """A harmless protocol anomaly. The driver counts it and logs it once per session."""

    what: str


class Fault(Event, frozen=True):
    """The client broke the protocol; ``disconnect`` has been sent."""

    detail: str


class Closing(Event, frozen=True):
    """The client asked to close. The driver delivers the last events, then calls ``Session.finish``."""

    reason: str


class Ended(Event, frozen=True):
    """The last event of a session.

    ``reason`` comes from the client's ``close`` (``end``, ``error``, ``disconnect``, ``reconnect``), or is
    :data:`CONNECTION_LOST` if there was no ``close``.
    """

    reason: str


CONNECTION_LOST = "connection-lost"
