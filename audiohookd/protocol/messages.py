"""Every message of AudioHook version 2 as a frozen structure (protocol section 3).

These are the ``parameters`` of the messages; :mod:`audiohookd.protocol.codec` puts them into their envelopes.
Fields that the structures do not name are ignored: Genesys adds fields, and servers that minded fell over.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from audiohookd.protocol import json_text
from audiohookd.protocol.duration import DURATION_PATTERN

#: Any 8-4-4-4-12 hexadecimal digits: checking the RFC's version bits would refuse UUIDs of versions 6 to 8.
UUID_PATTERN = r"\A[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}\Z"
NULL_UUID = "00000000-0000-0000-0000-000000000000"

Uuid = Annotated[str, Meta(pattern=UUID_PATTERN)]
Duration = Annotated[str, Meta(pattern=DURATION_PATTERN)]
#: Counters beyond 2⁵³ are no counters: no JSON number of another implementation would carry them exactly.
Seq = Annotated[int, Meta(ge=0, lt=2**53)]


class Parameters(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Base of all: optional fields that are not set are left out."""


# ---- client -> server -------------------------------------------------------------------------------


class Participant(Parameters, frozen=True, omit_defaults=False):
    """The party whose conversation is followed. Numbers are personal data: never in a log at info.

    What was not told is empty, or None when it came as ``null``.
    """

    id: Uuid
    ani: str | None = ""
    ani_name: str | None = ""
    dnis: str | None = ""

    def __repr__(self) -> str:
        return f"Participant(id={self.id!r})"


class ContinuedSession(Parameters, frozen=True):
    """A predecessor of a re-established session, with its counters."""

    id: Uuid
    serverseq: Seq
    clientseq: Seq


class Open(Parameters, frozen=True):
    """Asks for a session. ``media`` are the client's offers as they came.

    ``continued_sessions`` is empty when there are none, or None when it came as ``null``.
    """

    organization_id: Uuid
    conversation_id: Uuid
    participant: Participant
    media: tuple[Raw, ...]
    language: str | None = None
    supported_languages: bool | None = None
    continued_sessions: tuple[ContinuedSession, ...] | None = ()
    custom_config: Raw | UnsetType = UNSET
    input_variables: dict[str, Any] | None = None

    @property
    def is_probe(self) -> bool:
        """The connection probe of section 3.7: no call stands behind it."""
        return self.conversation_id == NULL_UUID


CloseReason = Literal["end", "error", "disconnect", "reconnect"]


class Close(Parameters, frozen=True):
    """Ends the session."""

    reason: str


class Ping(Parameters, frozen=True):
    """Asks for a ``pong``; carries the round trip measured before, if there was one."""

    rtt: Duration | None = None


class Paused(Parameters, frozen=True):
    """No audio from here on."""


class Resumed(Parameters, frozen=True):
    """Audio again, after ``discarded`` from ``start`` on was not sent."""

    start: Duration
    discarded: Duration


class Discarded(Resumed, frozen=True):
    """Audio was lost outside a pause."""


class Update(Parameters, frozen=True):
    """The language of the call has changed."""

    language: str | None = None


#: The code of an :class:`Error` about too many messages.
TOO_MANY = 429


class Error(Parameters, frozen=True):
    """The client complains."""

    code: int
    message: str = ""
    retry_after: Duration | None = None


class Dtmf(Parameters, frozen=True):
    """The caller pressed a key (Audio Connector)."""

    digit: str


class PlaybackStarted(Parameters, frozen=True):
    """Our audio is being played to the caller (Audio Connector)."""


class PlaybackCompleted(Parameters, frozen=True):
    """Our audio has been played to the caller (Audio Connector)."""


# ---- server -> client -------------------------------------------------------------------------------


class Opened(Parameters, frozen=True, omit_defaults=False):
    """Accepts the session with one medium, or none."""

    media: tuple[Raw, ...]
    start_paused: bool | UnsetType = UNSET
    discard_to: Duration | UnsetType = UNSET
    supported_languages: tuple[str, ...] | UnsetType = UNSET


class Closed(Parameters, frozen=True):
    """The last message of a session."""


class Pong(Parameters, frozen=True):
    """Answers a ``ping``."""


class Pause(Parameters, frozen=True):
    """Asks for no more audio."""


class Resume(Parameters, frozen=True):
    """Asks for audio again."""


class Updated(Parameters, frozen=True):
    """Answers an ``update``."""


class Event(Parameters, frozen=True, omit_defaults=False):
    """Results for Genesys Cloud: structures of :mod:`audiohookd.protocol.entities`, or JSON values as decoded."""

    entities: tuple[Any, ...]


DisconnectReason = Literal["completed", "unauthorized", "error", "rejected"]


class Disconnect(Parameters, frozen=True):
    """Asks the client to close."""

    reason: DisconnectReason
    info: str | None = None
    output_variables: dict[str, str] | None = None


class Reconnect(Parameters, frozen=True):
    """Asks the client to move to a new connection."""

    info: str | None = None


CLIENT_MESSAGES: dict[str, type[Parameters]] = {
    "open": Open,
    "close": Close,
    "ping": Ping,
    "paused": Paused,
    "resumed": Resumed,
    "discarded": Discarded,
    "update": Update,
    "error": Error,
    "dtmf": Dtmf,
    "playback_started": PlaybackStarted,
    "playback_completed": PlaybackCompleted,
}

SERVER_MESSAGES: dict[str, type[Parameters]] = {
    "opened": Opened,
    "closed": Closed,
    "pong": Pong,
    "pause": Pause,
    "resume": Resume,
    "updated": Updated,
    "event": Event,
    "disconnect": Disconnect,
    "reconnect": Reconnect,
}


def read_custom_config(raw: Raw | UnsetType) -> dict[str, object]:
    """The administrator's configuration for the call; empty when there is none or it is no object.

    Some versions of Genesys Cloud send it as a string that holds JSON, so both are read.
    """
    text = b"" if raw is UNSET else bytes(raw)
    for _ in range(2):
        try:
            value = json_text.decode(json_text.ANYTHING, text)
        except ValueError:
            return {}
        if not isinstance(value, str):
            return value if isinstance(value, dict) else {}
        text = value.encode()
    return {}
