"""Results for Genesys Cloud, letter by letter."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.protocol import entities
from audiohookd.protocol.entities import (
    AgentAssist,
    AgentAssistData,
    Alternative,
    Article,
    BargeIn,
    BotTurnResponse,
    BotTurnResponseData,
    Faq,
    Interpretation,
    SpeechStarted,
    Token,
    Transcript,
    TranscriptData,
    Utterance,
    parse_entity,
)
from audiohookd.protocol.errors import LocalProtocolError
from tests.protocol.wire_client import opened

ID = "c08d1a4c-5a2e-4a02-a2cc-6c2d0c6b0c1f"

#: Each with everything in it, then each with as little as it may hold.
GOLDEN: list[tuple[Any, Any]] = [
    (
        Transcript(TranscriptData(
            ID, 1, True,
            (Alternative(
                0.9375,
                (Interpretation("Hello world", (
                    Token("Hello", 1.0, "PT0.5S", "PT0.25S", "en-US"),
                    Token("world", 0.5, "PT0.75S", "PT0.25S"),
                )),),
                ("en-US", "es-419"),
            ),),
            "PT0.5S", "PT0.5S",
        )),
        {"type": "transcript", "data": {
            "id": ID, "channelId": 1, "isFinal": True, "offset": "PT0.5S", "duration": "PT0.5S",
            "alternatives": [{
                "confidence": 0.9375, "languages": ["en-US", "es-419"],
                "interpretations": [{"type": "display", "transcript": "Hello world", "tokens": [
                    {"type": "word", "value": "Hello", "confidence": 1.0, "offset": "PT0.5S", "duration": "PT0.25S",
                     "language": "en-US"},
                    {"type": "word", "value": "world", "confidence": 0.5, "offset": "PT0.75S", "duration": "PT0.25S"},
                ]}],
            }],
        }},
    ),
    (
        Transcript(TranscriptData(ID, 0, False, (Alternative(0.0, (Interpretation("ja"),)),))),
        {"type": "transcript", "data": {
            "id": ID, "channelId": 0, "isFinal": False,
            "alternatives": [{"confidence": 0.0, "interpretations": [{"type": "display", "transcript": "ja"}]}],
        }},
    ),
    (
        AgentAssist(AgentAssistData(
            ID,
            (Utterance(ID, "PT1S", "hi", "en-US", 0.5, "external", True, "PT2S"),),
            (
                Faq(ID, 0.25, "How?", "<p>So.</p>", "PT3S"),
                Article(ID, 0.75, "Title", ("one", "two"), "https://example.com/1", "PT4S", {"source": "kb"}),
            ),
        )),
        {"type": "agentassist", "data": {
            "id": ID,
            "utterances": [{"id": ID, "position": "PT1S", "duration": "PT2S", "text": "hi", "language": "en-US",
                            "confidence": 0.5, "channel": "external", "isFinal": True}],
            "suggestions": [
                {"type": "faq", "id": ID, "confidence": 0.25, "position": "PT3S", "question": "How?",
                 "answer": "<p>So.</p>"},
                {"type": "article", "id": ID, "confidence": 0.75, "position": "PT4S", "title": "Title",
                 "excerpts": ["one", "two"], "documentUri": "https://example.com/1", "metadata": {"source": "kb"}},
            ],
        }},
    ),
    (AgentAssist(AgentAssistData(ID)), {"type": "agentassist", "data": {"id": ID}}),
    (
        BotTurnResponse(BotTurnResponseData("match", "Paying", 0.5)),
        {"type": "bot_turn_response", "data": {"disposition": "match", "text": "Paying", "confidence": 0.5}},
    ),
    (
        BotTurnResponse(BotTurnResponseData("no_input")),
        {"type": "bot_turn_response", "data": {"disposition": "no_input"}},
    ),
    (BargeIn(), {"type": "barge_in", "data": {}}),
    (SpeechStarted(), {"type": "speech_started", "data": {}}),
]  # fmt: skip


@pytest.mark.parametrize(("entity", "expected"), GOLDEN)
def test_an_entity_is_this_on_the_wire(entity: Any, expected: Any) -> None:
    client = opened()
    assert client.session.send_event([entity])
    (message,) = client.said()
    assert message["parameters"] == {"entities": [expected]}


@pytest.mark.parametrize(("entity", "expected"), GOLDEN)
def test_an_entity_is_understood_again(entity: Any, expected: Any) -> None:
    assert parse_entity(expected) == entity


@pytest.mark.parametrize(("entity", "expected"), GOLDEN)
def test_an_entity_with_an_unknown_key_is_rejected(entity: Any, expected: Any) -> None:
    client = opened()
    for wrong in (expected | {"somethingNew": 1}, expected | {"data": expected["data"] | {"somethingNew": 1}}):
        with pytest.raises(LocalProtocolError, match="unknown field `somethingNew`"):
            client.session.send_event([wrong])
    assert client.said() == []


def test_a_message_may_carry_several_entities() -> None:
    client = opened()
    assert client.session.send_event([entity for entity, _ in GOLDEN])
    assert client.said()[0]["parameters"] == {"entities": [expected for _, expected in GOLDEN]}


@pytest.mark.parametrize(
    "value",
    [{"type": "weather", "data": {}}, {"type": "Transcript"}, {"type": ["transcript"]}, {"type": {}}, {"type": None},
     {"data": {}}, {}, [], ["transcript"], "transcript", None, 7],
    ids=str,
)  # fmt: skip
def test_an_unknown_entity_is_not_parsed(value: Any) -> None:
    assert parse_entity(value) is None


def changed(path: tuple[Any, ...], value: Any) -> Any:
    """The full transcript, as JSON, with one place of it changed (or taken out)."""
    whole = json.loads(json.dumps(GOLDEN[0][1]))
    place = whole
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return whole


FIRST = ("data", "alternatives", 0)
TOKEN = (*FIRST, "interpretations", 0, "tokens", 0)


@pytest.mark.parametrize(
    "wrong",
    [
        changed(("data",), None),
        changed(("data", "id"), None),
        changed(("data", "channelId"), 2),
        changed(("data", "channelId"), "0"),
        changed(("data", "isFinal"), "yes"),
        changed(("data", "alternatives"), None),
        changed((*FIRST, "confidence"), 1.5),
        changed((*FIRST, "confidence"), -0.5),
        changed((*FIRST, "interpretations", 0, "type"), "lexical"),
        changed((*FIRST, "interpretations", 0, "transcript"), None),
        changed((*TOKEN, "type"), "punctuation"),
        changed((*TOKEN, "offset"), None),
        {"type": "bot_turn_response", "data": {"disposition": "maybe"}},
        {"type": "agentassist", "data": {"id": ID, "suggestions": [{"type": "video"}]}},
    ],
)
def test_one_of_ours_that_is_wrong_is_an_error(wrong: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        parse_entity(wrong)


words = st.builds(Token, st.text(), st.floats(0, 1), st.just("PT1S"), st.just("PT2S"), st.none() | st.text())
interpretations = st.builds(Interpretation, st.text(), st.none() | st.lists(words, max_size=3).map(tuple))
alternatives = st.builds(
    Alternative,
    st.floats(0, 1),
    st.lists(interpretations, min_size=1, max_size=2).map(tuple),
    st.none() | st.lists(st.text(), max_size=2).map(tuple),
)
transcripts = st.builds(
    Transcript,
    st.builds(
        TranscriptData,
        st.uuids().map(str),
        st.sampled_from([0, 1]),
        st.booleans(),
        st.lists(alternatives, min_size=1, max_size=2).map(tuple),
        st.none() | st.just("PT0.5S"),
        st.none() | st.just("PT1S"),
    ),
)


@given(transcripts)
def test_every_transcript_survives_the_wire(transcript: Any) -> None:
    text = msgspec.json.encode(transcript)
    assert parse_entity(json.loads(text)) == transcript
    assert not holds_null(json.loads(text))


def holds_null(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(holds_null, inner))


def test_every_entity_is_golden() -> None:
    assert {type(entity) for entity, _ in GOLDEN} == set(entities.Entity.__args__)
