"""The parameters of all messages of AudioHook version 2, as frozen structures (protocol section 3).

:mod:`audiohookd.protocol.codec` adds the envelopes. Unknown fields are ignored: Genesys adds fields, and stricter
servers failed.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from audiohookd.protocol import json_text
from audiohookd.protocol.duration import DURATION_PATTERN

#: Any 8-4-4-4-12 hexadecimal digits: a check of the RFC's version bits would reject UUIDs of versions 6 to 8.
UUID_PATTERN = r"\A[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}\Z"
NULL_UUID = "00000000-0000-0000-0000-000000000000"

Uuid = Annotated[str, Meta(pattern=UUID_PATTERN)]
Duration = Annotated[str, Meta(pattern=DURATION_PATTERN)]
#: Counters are below 2⁵³: other implementations of JSON cannot represent larger numbers exactly.
Seq = Annotated[int, Meta(ge=0, lt=2**53)]


class Parameters(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Base class of all parameters. Optional fields that are not set are omitted."""


# ---- client -> server -------------------------------------------------------------------------------


class Participant(Parameters, frozen=True, omit_defaults=False):
    """The followed party. Its numbers and name are personal data and must not be logged at level info.

    A missing field is empty; a field that was ``null`` is None.
    """

    id: Uuid
    ani: str | None = ""
    ani_name: str | None = ""
    dnis: str | None = ""

    def __repr__(self) -> str:
        return f"Participant(id={self.id!r})"


class ContinuedSession(Parameters, frozen=True):
    """A predecessor of a session that was re-established, with its counters."""

    id: Uuid
    serverseq: Seq
    clientseq: Seq


class Open(Parameters, frozen=True):
    """Asks for a session. ``media`` holds the client's offers as received.

    ``continued_sessions`` is empty if missing, and None if it was ``null``. ``custom_config`` and ``input_variables``
    are undecoded JSON: 60 KB of it can take 3 MiB when decoded.
    """

    organization_id: Uuid
    conversation_id: Uuid
    participant: Participant
    media: tuple[Raw, ...]
    language: str | None = None
    supported_languages: bool | None = None
    continued_sessions: tuple[ContinuedSession, ...] | None = ()
    custom_config: Raw | UnsetType = UNSET
    input_variables: Raw | UnsetType = UNSET

    @property
    def is_probe(self) -> bool:
        """True for a connection probe, which belongs to no call (protocol section 3.7)."""
        return self.conversation_id == NULL_UUID


CloseReason = Literal["end", "error", "disconnect", "reconnect"]


class Close(Parameters, frozen=True):
    """Ends the session."""

    reason: str


class Ping(Parameters, frozen=True):
    """Asks for a ``pong``. ``rtt`` is the round-trip time of the previous ping, if there was one."""

    rtt: Duration | None = None


class Paused(Parameters, frozen=True):
    """The client has stopped sending audio."""


class Resumed(Parameters, frozen=True):
    """The client sends audio again. It did not send the audio of duration ``discarded`` from ``start`` on."""

    start: Duration
    discarded: Duration


class Discarded(Resumed, frozen=True):
    """Audio was lost outside a pause."""


class Update(Parameters, frozen=True):
    """The language of the call has changed."""

    language: str | None = None


#: The code of an :class:`Error` about too many messages. ``message`` may say of which kind.
TOO_MANY = 429


class Error(Parameters, frozen=True):
    """The client reports an error."""

    code: int
    message: str = ""
    retry_after: Duration | None = None


class Dtmf(Parameters, frozen=True):
    """The caller pressed a key (Audio Connector)."""

    digit: str


class BargeIn(Parameters, frozen=True):
    """The caller interrupted the bot (Bot Transcription Connector). It needs no answer."""


class PlaybackStarted(Parameters, frozen=True):
    """The client started playing the server's audio to the caller (Audio Connector)."""


class PlaybackCompleted(Parameters, frozen=True):
    """The client finished playing the server's audio to the caller (Audio Connector)."""


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
    """Asks the client to stop sending audio."""


class Resume(Parameters, frozen=True):
    """Asks the client to send audio again."""


class Updated(Parameters, frozen=True):
    """Answers an ``update``."""


class Event(Parameters, frozen=True, omit_defaults=False):
    """Results for Genesys Cloud: structures of :mod:`audiohookd.protocol.entities`, or decoded JSON."""

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
    "barge_in": BargeIn,
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


def read_object(raw: Raw | UnsetType) -> dict[str, object]:
    """Decodes ``custom_config`` or ``input_variables``. Empty if it is missing or not an object.

    Some versions of Genesys Cloud send ``customConfig`` as a string that contains JSON; both forms are accepted.
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
