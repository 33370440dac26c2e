"""What each message looks like on the wire, letter by letter."""

import json
from typing import Any

import pytest
from msgspec import UNSET, Raw

from audiohookd.protocol import entities, messages
from audiohookd.protocol.codec import decode_client_envelope, decode_parameters, encode_server
from audiohookd.protocol.duration import samples_to_duration
from audiohookd.protocol.errors import RemoteProtocolError
from tests.protocol.wire_client import ORGANIZATION_ID, PARAMETERS, SESSION_ID

OFFER = Raw(b'{"type":"audio","format":"PCMU","channels":["external"],"rate":8000}')

#: A message of the server, and its parameters as they must be.
GOLDEN = [
    ("opened", messages.Opened((OFFER,)), '{"media":[' + bytes(OFFER).decode() + "]}"),
    ("opened", messages.Opened(()), '{"media":[]}'),
    (
        "opened",
        messages.Opened((), True, samples_to_duration(1, 8000), ("en-US", "es-419")),
        '{"media":[],"startPaused":true,"discardTo":"PT0.000125S","supportedLanguages":["en-US","es-419"]}',
    ),
    ("opened", messages.Opened((), discard_to="PT0S"), '{"media":[],"discardTo":"PT0S"}'),
    ("opened", messages.Opened((), supported_languages=()), '{"media":[],"supportedLanguages":[]}'),
    ("closed", messages.Closed(), "{}"),
    ("pong", messages.Pong(), "{}"),
    ("pause", messages.Pause(), "{}"),
    ("resume", messages.Resume(), "{}"),
    ("updated", messages.Updated(), "{}"),
    ("event", messages.Event((entities.BargeIn(),)), '{"entities":[{"type":"barge_in","data":{}}]}'),
    ("event", messages.Event(({"type": "x", "data": None},)), '{"entities":[{"type":"x","data":null}]}'),
    ("disconnect", messages.Disconnect("completed"), '{"reason":"completed"}'),
    ("disconnect", messages.Disconnect("unauthorized"), '{"reason":"unauthorized"}'),
    ("disconnect", messages.Disconnect("error", "busy"), '{"reason":"error","info":"busy"}'),
    (
        "disconnect",
        messages.Disconnect("completed", None, {"Intent": "pay", "snake_case": "ü"}),
        '{"reason":"completed","outputVariables":{"Intent":"pay","snake_case":"ü"}}',
    ),
    ("reconnect", messages.Reconnect(), "{}"),
    ("reconnect", messages.Reconnect("maintenance"), '{"info":"maintenance"}'),
]


@pytest.mark.parametrize(("name", "parameters", "text"), GOLDEN)
def test_a_message_of_the_server_is_this(name: str, parameters: Any, text: str) -> None:
    whole = f'{{"version":"2","id":"{SESSION_ID}","type":"{name}","seq":7,"clientseq":5,"parameters":{text}}}'
    assert encode_server(SESSION_ID, 7, 5, parameters).decode() == whole


def test_every_message_of_the_server_is_golden() -> None:
    assert {name for name, _, _ in GOLDEN} == set(messages.SERVER_MESSAGES)
    assert all(type(parameters) is messages.SERVER_MESSAGES[name] for name, parameters, _ in GOLDEN)


@pytest.mark.parametrize("samples", [1, 2, 79, 8000, 86_400 * 8000 + 1, 10**13 + 1])
def test_no_duration_has_an_exponent(samples: int) -> None:
    data = encode_server(SESSION_ID, 1, 1, messages.Opened((), discard_to=samples_to_duration(samples, 8000)))
    assert "e" not in json.loads(data)["parameters"]["discardTo"].lower()


# ---- messages of the client --------------------------------------------------------------------------


def read(name: str, parameters: Any) -> Any:
    """The parameters of a message of the client."""
    whole = {"version": "2", "id": SESSION_ID, "type": name, "seq": 1, "serverseq": 0, "position": "PT0S"}
    return decode_parameters(decode_client_envelope(json.dumps(whole | {"parameters": parameters}).encode()))


READ = [
    ("close", {"reason": "reconnect"}, messages.Close("reconnect")),
    ("ping", {}, messages.Ping()),
    ("ping", {"rtt": "PT0.048S"}, messages.Ping("PT0.048S")),
    ("paused", {}, messages.Paused()),
    ("resumed", {"start": "PT1S", "discarded": "PT.5S"}, messages.Resumed("PT1S", "PT.5S")),
    ("discarded", {"start": "PT0.0S", "discarded": "PT2S"}, messages.Discarded("PT0.0S", "PT2S")),
    ("update", {}, messages.Update()),
    ("update", {"language": "zh-Hans-CN"}, messages.Update("zh-Hans-CN")),
    ("error", {"code": 429, "message": "slow", "retryAfter": "PT3S"}, messages.Error(429, "slow", "PT3S")),
    ("error", {"code": -1}, messages.Error(-1)),
    ("dtmf", {"digit": "*"}, messages.Dtmf("*")),
    ("playback_started", {}, messages.PlaybackStarted()),
    ("playback_completed", {}, messages.PlaybackCompleted()),
    ("barge_in", {}, messages.BargeIn()),
]


@pytest.mark.parametrize(("name", "parameters", "expected"), READ)
def test_a_message_of_the_client_is_read(name: str, parameters: Any, expected: Any) -> None:
    assert read(name, parameters) == expected
    assert read(name, parameters | {"somethingNew": [1]}) == expected


def test_open_is_read_in_full() -> None:
    full = PARAMETERS["open"] | {
        "supportedLanguages": True,
        "continuedSessions": [{"id": SESSION_ID, "serverseq": 3, "clientseq": 4}],
        "customConfig": {"a": 1},
        "inputVariables": {"customer": "gold", "level": None},
    }
    request = read("open", full)
    assert request.organization_id == ORGANIZATION_ID
    assert request.conversation_id == full["conversationId"]
    assert (request.participant.ani_name, request.participant.dnis) == ("John Doe", "+1-800-555-6789")
    assert [json.loads(bytes(offer)) for offer in request.media] == full["media"]
    assert (request.language, request.supported_languages) == ("en-US", True)
    assert request.continued_sessions == (messages.ContinuedSession(SESSION_ID, 3, 4),)
    assert json.loads(bytes(request.custom_config)) == {"a": 1}
    assert json.loads(bytes(request.input_variables)) == {"customer": "gold", "level": None}


def test_open_needs_little() -> None:
    needed = {name: PARAMETERS["open"][name] for name in ("organizationId", "conversationId", "media")}
    request = read("open", needed | {"participant": {"id": messages.NULL_UUID}})
    assert (request.language, request.supported_languages, request.continued_sessions) == (None, None, ())
    assert (request.custom_config, request.input_variables) == (UNSET, UNSET)
    assert (request.participant.ani, request.participant.ani_name, request.participant.dnis) == ("", "", "")


def test_null_in_an_optional_place_of_open_is_as_good_as_nothing() -> None:
    optional = ("language", "supportedLanguages", "continuedSessions", "customConfig", "inputVariables")
    participant = {"id": messages.NULL_UUID, "ani": None, "aniName": None, "dnis": None}
    request = read("open", PARAMETERS["open"] | dict.fromkeys(optional) | {"participant": participant})
    assert (request.language, request.supported_languages) == (None, None)
    assert not request.continued_sessions
    assert messages.read_object(request.custom_config) == messages.read_object(request.input_variables) == {}
    assert not request.participant.ani
    assert not request.participant.ani_name
    assert not request.participant.dnis


WRONG = [
    ("open", {}),
    ("open", PARAMETERS["open"] | {"organizationId": "acme"}),
    ("open", PARAMETERS["open"] | {"conversationId": None}),
    ("open", PARAMETERS["open"] | {"participant": {}}),
    ("open", PARAMETERS["open"] | {"media": None}),
    ("open", PARAMETERS["open"] | {"media": {}}),
    ("open", PARAMETERS["open"] | {"language": 5}),
    ("open", PARAMETERS["open"] | {"continuedSessions": [{"id": SESSION_ID}]}),
    ("close", {}),
    ("close", {"reason": None}),
    ("ping", {"rtt": 0.05}),
    ("ping", {"rtt": "PT1H"}),
    ("resumed", {}),
    ("resumed", {"start": "PT1S"}),
    ("resumed", {"start": "PT1S", "discarded": "PT-1S"}),
    ("discarded", {"discarded": "PT1S"}),
    ("update", {"language": ["en"]}),
    ("error", {}),
    ("error", {"code": "429"}),
    ("error", {"code": 429, "retryAfter": 3}),
    ("dtmf", {}),
    ("dtmf", {"digit": 5}),
]


@pytest.mark.parametrize(("name", "parameters"), WRONG)
def test_parameters_that_are_wrong_are_an_error(name: str, parameters: Any) -> None:
    with pytest.raises(RemoteProtocolError, match=r"^message malformed"):
        read(name, parameters)


def test_every_message_of_the_client_was_read() -> None:
    assert {"open"} | {name for name, _, _ in READ} == set(messages.CLIENT_MESSAGES)
