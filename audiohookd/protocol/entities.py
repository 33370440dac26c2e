"""The entities of an ``event`` message (protocol section 3.5).

Each entity is sent as ``{"type": ..., "data": ...}``. Positions and offsets are durations of the protocol, as
:func:`audiohookd.protocol.duration.samples_to_duration` formats them.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Raw, Struct, convert, to_builtins

from audiohookd.protocol.errors import LocalProtocolError

Confidence = Annotated[float, Meta(ge=0, le=1)]


class _Part(Struct, frozen=True, omit_defaults=True, rename="camel", forbid_unknown_fields=True):
    """Base class of all structures here. Optional fields that are not set are omitted.

    Genesys' client ends the session on an unknown key (protocol section 9.1), so one raises at the plugin.
    """


# ---- transcript -------------------------------------------------------------------------------------


class Token(_Part, frozen=True, tag_field="type", tag="word"):
    """One word of an interpretation."""

    value: str
    confidence: Confidence
    offset: str
    duration: str
    language: str | None = None


class Interpretation(_Part, frozen=True, tag_field="type", tag="display"):
    """One written form of an alternative."""

    transcript: str
    tokens: tuple[Token, ...] | None = None


class Alternative(_Part, frozen=True):
    """One hypothesis of the recognized speech."""

    confidence: Confidence
    interpretations: tuple[Interpretation, ...]
    languages: tuple[str, ...] | None = None


class TranscriptData(_Part, frozen=True):
    """``channel_id`` is the index into the channels of the selected media."""

    id: str
    channel_id: Literal[0, 1]
    is_final: bool
    alternatives: tuple[Alternative, ...]
    offset: str | None = None
    duration: str | None = None


# ---- agentassist ------------------------------------------------------------------------------------


class Utterance(_Part, frozen=True):
    """An utterance of a party, shown beside the suggestions. Each must be sent once."""

    id: str
    position: str
    text: str
    language: str
    confidence: Confidence
    channel: Literal["external", "internal"]
    is_final: bool
    duration: str | None = None


class Faq(_Part, frozen=True, tag_field="type", tag="faq"):
    """A question and its answer, which may use the subset of HTML that Genesys shows."""

    id: str
    confidence: Confidence
    question: str
    answer: str
    position: str | None = None


class Article(_Part, frozen=True, tag_field="type", tag="article"):
    """A document of a knowledge base."""

    id: str
    confidence: Confidence
    title: str
    excerpts: tuple[str, ...]
    document_uri: str
    position: str | None = None
    metadata: dict[str, Any] | None = None


class AgentAssistData(_Part, frozen=True):
    """Utterances and suggestions for the agent."""

    id: str
    utterances: tuple[Utterance, ...] | None = None
    suggestions: tuple[Faq | Article, ...] | None = None


# ---- bots (Audio Connector) -------------------------------------------------------------------------


class BotTurnResponseData(_Part, frozen=True):
    """The bot's interpretation of the caller's turn."""

    disposition: Literal["no_input", "no_match", "match"]
    text: str | None = None
    confidence: Confidence | None = None


class SpeechStartedData(_Part, frozen=True):
    """Empty by definition."""


class BargeInData(_Part, frozen=True):
    """Empty by definition."""


# ---- the entities -----------------------------------------------------------------------------------


class Transcript(_Part, frozen=True, tag_field="type", tag="transcript"):
    """A piece of speech as text (Transcription Connector)."""

    data: TranscriptData


class AgentAssist(_Part, frozen=True, tag_field="type", tag="agentassist"):
    """Help for the agent (experimental, not available through Genesys Cloud)."""

    data: AgentAssistData


class BotTurnResponse(_Part, frozen=True, tag_field="type", tag="bot_turn_response"):
    """The bot's interpretation of a turn (Audio Connector)."""

    data: BotTurnResponseData


class SpeechStarted(_Part, frozen=True, tag_field="type", tag="speech_started", omit_defaults=False):
    """The caller begins to speak (Bot Transcription Connector)."""

    data: SpeechStartedData = SpeechStartedData()


class BargeIn(_Part, frozen=True, tag_field="type", tag="barge_in", omit_defaults=False):
    """The caller speaks: the client stops playing and drops queued audio (Audio Connector)."""

    data: BargeInData = BargeInData()


Entity = Transcript | AgentAssist | BotTurnResponse | BargeIn | SpeechStarted


def parse_entity(value: Any) -> Entity | None:
    """Converts decoded JSON to an entity.

    :returns: the entity; None if its type is unknown.
    :raises msgspec.ValidationError: its type is known, but its content is invalid.
    """
    known = {member.__struct_config__.tag for member in get_args(Entity)}
    name = value.get("type") if isinstance(value, dict) else None
    if not isinstance(name, str) or name not in known:
        return None
    entity: Entity = convert(value, Entity)
    return entity


def is_named(value: Any) -> bool:
    """True if decoded JSON has the members of every entity: ``type`` and ``data``."""
    return isinstance(value, dict) and isinstance(value.get("type"), str) and "data" in value


def encode_entities(entities: Iterable[Any]) -> tuple[Raw, ...]:
    """Validates and encodes entities: structures of this module, or decoded JSON.

    It checks their JSON, because structures are not validated when they are built.

    :returns: the JSON of each entity.
    :raises LocalProtocolError: there is no entity (Genesys' reference client fails on that); or an entity lacks type
        or data, has invalid content for a known type, or cannot be encoded as JSON (which has no NaN).
    """
    entities = as_tuple(entities)
    if not entities:
        raise LocalProtocolError("event: no entities")
    encoded = []
    for entity in entities:
        try:
            value = json.loads(json.dumps(to_builtins(entity, str_keys=True), allow_nan=False))
            if not is_named(value):
                raise LocalProtocolError("event: an entity without type or data")
            parse_entity(value)
            encoded.append(Raw(msgspec.json.encode(entity)))
        except (TypeError, ValueError, RecursionError) as fault:  # a ValidationError is a ValueError
            raise LocalProtocolError(f"event: malformed entity: {fault}") from fault
    return tuple(encoded)


def as_tuple(entities: Iterable[Any]) -> tuple[Any, ...]:
    """Returns the entities of an event as a tuple. Consumes an iterator.

    :raises LocalProtocolError: ``entities`` is not a sequence of entities, but a single one or something else.
    """
    if isinstance(entities, str | bytes | Mapping) or not isinstance(entities, Iterable):
        raise LocalProtocolError(f"event: a list of entities is needed, not {type(entities).__name__}")
    return tuple(entities)
