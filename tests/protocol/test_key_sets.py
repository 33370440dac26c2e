"""The exact keys of what the daemon sends: Genesys' client ends the session on others (protocol section 9.1)."""

import json
from collections.abc import Callable, Iterable
from typing import Any, get_args

import msgspec
import pytest

from audiohookd.protocol import entities, messages
from audiohookd.protocol.codec import encode_server
from audiohookd.protocol.entities import encode_entities
from tests.protocol.test_entities import GOLDEN
from tests.protocol.wire_client import SESSION_ID, WireClient, opened, opening

ENVELOPE = {"version", "id", "type", "seq", "clientseq", "parameters"}
#: The keys of the parameters of each message: those it always has, and those it may have.
PARAMETERS: dict[str, tuple[set[str], set[str]]] = {
    "opened": ({"media"}, {"startPaused", "discardTo", "supportedLanguages"}),
    "closed": (set(), set()),
    "pong": (set(), set()),
    "pause": (set(), set()),
    "resume": (set(), set()),
    "updated": (set(), set()),
    "event": ({"entities"}, set()),
    "disconnect": ({"reason"}, {"info", "outputVariables"}),
    "reconnect": (set(), {"info"}),
}
MEDIUM = {"type", "format", "channels", "rate"}
#: The keys of each structure of an entity.
ENTITIES: dict[str, tuple[set[str], set[str]]] = {
    "Transcript": ({"type", "data"}, set()),
    "TranscriptData": ({"id", "channelId", "isFinal", "alternatives"}, {"offset", "duration"}),
    "Alternative": ({"confidence", "interpretations"}, {"languages"}),
    "Interpretation": ({"type", "transcript"}, {"tokens"}),
    "Token": ({"type", "value", "confidence", "offset", "duration"}, {"language"}),
    "AgentAssist": ({"type", "data"}, set()),
    "AgentAssistData": ({"id"}, {"utterances", "suggestions"}),
    "Utterance": (
        {"id", "position", "text", "language", "confidence", "channel", "isFinal"},
        {"duration"},
    ),
    "Faq": ({"type", "id", "confidence", "question", "answer"}, {"position"}),
    "Article": ({"type", "id", "confidence", "title", "excerpts", "documentUri"}, {"position", "metadata"}),
    "BotTurnResponse": ({"type", "data"}, set()),
    "BotTurnResponseData": ({"disposition"}, {"text", "confidence"}),
    "BargeIn": ({"type", "data"}, set()),
    "SpeechStarted": ({"type", "data"}, set()),
    "SpeechStartedData": (set(), set()),
    "BargeInData": (set(), set()),
}


def sent(act: Callable[[WireClient], object], start: Callable[[], WireClient] = opened) -> dict[str, Any]:
    """The last message that the server sent in ``act``."""
    client = start()
    client.said()
    act(client)
    return client.said()[-1]


SENT = [
    sent(lambda client: client.session.accept(None), opening),
    sent(
        lambda client: client.session.accept(
            client.happened()[0].offers[0],  # type: ignore[attr-defined]
            start_paused=True,
            discard_to=8_000,
            supported_languages=["en"],
        ),
        opening,
    ),
    sent(lambda client: client.say("ping")),
    sent(lambda client: client.session.pause()),
    sent(lambda client: client.session.resume()),
    sent(lambda client: client.say("update")),
    sent(lambda client: client.session.reconnect()),
    sent(lambda client: client.session.reconnect("a new version")),
    sent(lambda client: client.session.disconnect("completed")),
    sent(lambda client: client.session.disconnect("error", "why", {"a": "b"})),
    sent(lambda client: client.session.send_event([entity for entity, _ in GOLDEN])),
    sent(lambda client: (client.say("close"), client.session.finish())),
]


def keys_fit(found: Iterable[str], keys: tuple[set[str], set[str]]) -> bool:
    always, optional = keys
    return always <= set(found) <= always | optional


@pytest.mark.parametrize("message", SENT, ids=lambda message: message["type"])
def test_a_message_has_these_keys_and_no_other(message: dict[str, Any]) -> None:
    assert set(message) == ENVELOPE
    assert keys_fit(message["parameters"], PARAMETERS[message["type"]])
    for medium in message["parameters"].get("media", []):
        assert set(medium) == MEDIUM


def test_every_message_of_a_server_is_tested() -> None:
    assert {message["type"] for message in SENT} == set(messages.SERVER_MESSAGES) == set(PARAMETERS)
    with_all = {name: always | optional for name, (always, optional) in PARAMETERS.items()}
    seen: dict[str, set[str]] = {}
    for message in SENT:
        seen.setdefault(message["type"], set()).update(message["parameters"])
    assert seen == with_all


def test_the_structures_of_messages_have_no_other_keys() -> None:
    for name, structure in messages.SERVER_MESSAGES.items():
        always, optional = PARAMETERS[name]
        assert set(structure.__struct_encode_fields__) == always | optional


def structures(kind: Any = entities.Entity) -> Iterable[type[msgspec.Struct]]:
    """All structures of an entity."""
    for member in get_args(kind):
        yield from structures(member)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
        for field in msgspec.structs.fields(kind):
            yield from structures(field.type)


def test_the_structures_of_entities_have_no_other_keys() -> None:
    found = {}
    for structure in structures():
        tag = structure.__struct_config__.tag_field
        found[structure.__name__] = {*structure.__struct_encode_fields__, *([tag] if tag else [])}
    assert found == {name: always | optional for name, (always, optional) in ENTITIES.items()}


@pytest.mark.parametrize(("entity", "expected"), GOLDEN)
def test_an_entity_leaves_as_its_published_keys(entity: Any, expected: Any) -> None:
    (encoded,) = encode_entities([entity])
    assert json.loads(bytes(encoded)) == expected
    message = json.loads(encode_server(SESSION_ID, 1, 1, messages.Event((encoded,))))
    assert message["parameters"] == {"entities": [expected]}
