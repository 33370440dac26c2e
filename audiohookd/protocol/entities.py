"""What an ``event`` message carries (protocol section 3.5).

Each entity travels as ``{"type": ..., "data": ...}``. Positions and offsets are durations of the wire: make them
with :func:`audiohookd.protocol.position.samples_to_duration`.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, Struct, convert, to_builtins

from audiohookd.protocol.errors import LocalProtocolError

Confidence = Annotated[float, Meta(ge=0, le=1)]


class _Part(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Optional fields that are not set are left out."""


# ---- transcript -------------------------------------------------------------------------------------


class Token(_Part, frozen=True, tag_field="type", tag="word"):
    """One word of an interpretation."""

    value: str
    confidence: Confidence
    offset: str
    duration: str
    language: str | None = None


class Interpretation(_Part, frozen=True, tag_field="type", tag="display"):
    """One way to write down what was said."""

    transcript: str
    tokens: tuple[Token, ...] | None = None


class Alternative(_Part, frozen=True):
    """One thing that may have been said."""

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
    """What somebody said, shown beside the suggestions. To be sent once each."""

    id: str
    position: str
    text: str
    language: str
    confidence: Confidence
    channel: Literal["external", "internal"]
    is_final: bool
    duration: str | None = None


class Faq(_Part, frozen=True, tag_field="type", tag="faq"):
    """A question and its answer (the answer in the subset of HTML that Genesys shows)."""

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
    """What the bot made of the caller's turn."""

    disposition: Literal["no_input", "no_match", "match"]
    text: str | None = None
    confidence: Confidence | None = None


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
    """How the bot understood a turn (Audio Connector)."""

    data: BotTurnResponseData


class BargeIn(_Part, frozen=True, tag_field="type", tag="barge_in", omit_defaults=False):
    """The caller speaks: stop playing and drop what is queued (Audio Connector)."""

    data: BargeInData = BargeInData()


Entity = Transcript | AgentAssist | BotTurnResponse | BargeIn


def parse_entity(value: Any) -> Entity | None:
    """The decoded JSON ``value`` as one of our entities; None for one that we do not know.

    :raises msgspec.ValidationError: its type is known and its contents are wrong.
    """
    known = {member.__struct_config__.tag for member in get_args(Entity)}
    name = value.get("type") if isinstance(value, dict) else None
    if not isinstance(name, str) or name not in known:
        return None
    entity: Entity = convert(value, Entity)
    return entity


def is_named(value: Any) -> bool:
    """Whether decoded JSON has what every entity has: a type, and data."""
    return isinstance(value, dict) and isinstance(value.get("type"), str) and "data" in value


def sendable(entities: Iterable[Any]) -> tuple[Any, ...]:
    """``entities``, if the client will understand all of them: ours, and anything that is one in JSON.

    Looks at what they become on the wire, for structures are not validated when they are made.

    :raises LocalProtocolError: none at all (Genesys' own client falls over that), or one without type or data, of a
        type that we know with other contents, or that JSON cannot say (it has no NaN).
    """
    entities = as_tuple(entities)
    if not entities:
        raise LocalProtocolError("event: no entities")
    for entity in entities:
        try:
            value = json.loads(json.dumps(to_builtins(entity, str_keys=True), allow_nan=False))
            if not is_named(value):
                raise LocalProtocolError("event: an entity without type or data")
            parse_entity(value)
        except (TypeError, ValueError, RecursionError) as fault:  # a ValidationError is a ValueError
            raise LocalProtocolError(f"event: malformed entity: {fault}") from fault
    return entities


def as_tuple(entities: Iterable[Any]) -> tuple[Any, ...]:
    """The entities of an event. A generator gives its entities only once.

    :raises LocalProtocolError: one entity, or nothing of the kind, and not several.
    """
    if isinstance(entities, str | bytes | Mapping) or not isinstance(entities, Iterable):
        raise LocalProtocolError(f"event: a list of entities is needed, not {type(entities).__name__}")
    return tuple(entities)
