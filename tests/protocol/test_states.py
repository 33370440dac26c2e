"""Every state against everything that can come, against a table written out by hand."""

from collections.abc import Callable
from typing import Any

import pytest

from audiohookd.protocol import events
from audiohookd.protocol.messages import CLIENT_MESSAGES
from audiohookd.protocol.session import Session
from audiohookd.protocol.states import LEGAL, TOLERATED, State
from tests.protocol.wire_client import OTHER_ID, PARAMETERS, WireClient, opened, opening

# ---- how each state is reached, by a legal conversation ----------------------------------------------


def paused() -> WireClient:
    client = opened()
    client.say("paused")
    return client


def without_media() -> WireClient:
    return opened(media=False)


def disconnecting() -> WireClient:
    client = opened()
    client.session.disconnect("completed")
    return client


def refused() -> WireClient:
    """Disconnecting, and it never was open."""
    client = WireClient()
    client.session.disconnect("unauthorized")
    return client


def closing() -> WireClient:
    client = opened()
    client.say("close")
    return client


def closed() -> WireClient:
    client = closing()
    client.session.finish()
    return client


def gone() -> WireClient:
    client = opened()
    client.session.connection_lost()
    return client


SITUATIONS: dict[str, Callable[[], WireClient]] = {
    "PREPARING": WireClient,
    "OPENING": opening,
    "OPEN": opened,
    "OPEN paused": paused,
    "OPEN without media": without_media,
    "DISCONNECTING": disconnecting,
    "DISCONNECTING refused": refused,
    "CLOSING": closing,
    "CLOSED": closed,
    "GONE": gone,
}

# ---- what can come -----------------------------------------------------------------------------------


def faulty(name: str, **envelope: Any) -> Callable[[WireClient], object]:
    return lambda client: client.say(name, **envelope)


STIMULI: dict[str, Callable[[WireClient], object]] = {name: faulty(name) for name in PARAMETERS} | {
    "unknown type": lambda client: client.say("weather_report", {"sunny": True}),
    "malformed JSON": lambda client: client.say_bytes(b'{"version": "2", '),
    "wrong seq": lambda client: client.say("ping", seq=client.seq + 2),
    "repeated seq": lambda client: client.say("ping", seq=client.seq),
    "wrong id": faulty("ping", id=OTHER_ID),
    "serverseq too high": lambda client: client.say("ping", serverseq=client.serverseq + 1),
    "wrong version": faulty("ping", version="1"),
    "parameters missing something": lambda client: client.say("error", {"message": "no code"}),
    "close, wrong seq": lambda client: client.say("close", seq=client.seq + 2),
    "close, malformed": lambda client: client.say("close", {"reason": 0}, position="soon"),
    "oversize": lambda client: client.say_bytes(b"x" * 65_537),
    "audio": lambda client: client.send_audio(320),
    "audio, nothing in it": lambda client: client.send_audio(0),
    "audio, half a sample": lambda client: client.send_audio(321),
}

# ---- what then happens: messages of the server > next state > events ----------------------------------

_FAULT = "disconnect:error > DISCONNECTING > Fault"
_FAULT_CLOSED = "disconnect:error closed > CLOSED > Fault Ended:error"
_NOTHING = "- > {} > -"
#: Results that are the same in all states before the session ends.
_FAULTS = {
    "malformed JSON": _FAULT,
    "wrong seq": _FAULT,
    "repeated seq": _FAULT,
    "wrong id": _FAULT,
    "serverseq too high": _FAULT,
    "wrong version": _FAULT,
    "parameters missing something": _FAULT,
    "oversize": _FAULT,
}
_OPEN = {
    "open": _FAULT,
    "ping": "pong > OPEN > RoundTrip",
    "update": "updated > OPEN > LanguageChanged:es-US",
    "dtmf": "- > OPEN > Dtmf:5",
    "barge_in": "- > OPEN > Tolerated:barge_in",
    "playback_started": "- > OPEN > Playback:True",
    "playback_completed": "- > OPEN > Playback:False",
    "error": "- > OPEN > PeerError",
    "close": "- > CLOSING > Closing:end",
    "unknown type": "- > OPEN > Tolerated:unknown-type",
    "close, wrong seq": "disconnect:error > CLOSING > Fault Closing:error",
    "close, malformed": "disconnect:error > CLOSING > Fault Closing:error",
} | _FAULTS
_DISCONNECTING = {
    "open": "- > DISCONNECTING > Tolerated:open",
    "ping": "pong > DISCONNECTING > RoundTrip",
    "paused": "- > DISCONNECTING > Tolerated:paused",
    "resumed": "- > DISCONNECTING > Tolerated:resumed",
    "discarded": "- > DISCONNECTING > Tolerated:discarded",
    "update": "- > DISCONNECTING > Tolerated:update",
    "dtmf": "- > DISCONNECTING > Tolerated:dtmf",
    "barge_in": "- > DISCONNECTING > Tolerated:barge_in",
    "playback_started": "- > DISCONNECTING > Tolerated:playback_started",
    "playback_completed": "- > DISCONNECTING > Tolerated:playback_completed",
    "error": "- > DISCONNECTING > PeerError",
    "unknown type": "- > DISCONNECTING > Tolerated:unknown-type",
    "malformed JSON": "- > DISCONNECTING > Tolerated:malformed",
    "wrong seq": "pong > DISCONNECTING > RoundTrip",
    "repeated seq": "pong > DISCONNECTING > RoundTrip",
    "wrong id": "pong > DISCONNECTING > RoundTrip",
    "serverseq too high": "pong > DISCONNECTING > RoundTrip",
    "wrong version": "- > DISCONNECTING > Tolerated:malformed",
    "parameters missing something": "- > DISCONNECTING > Tolerated:malformed",
    "oversize": "- > DISCONNECTING > Tolerated:malformed",
    "audio": "- > DISCONNECTING > Tolerated:audio-late",
    "audio, nothing in it": "- > DISCONNECTING > Tolerated:audio-late",
    "audio, half a sample": "- > DISCONNECTING > Tolerated:audio-late",
}

TABLE = {
    "PREPARING": {
        "open": "- > OPENING > OpenRequested",
        "ping": "pong > PREPARING > RoundTrip",
        "paused": _FAULT,
        "resumed": _FAULT,
        "discarded": _FAULT,
        "update": "- > PREPARING > Tolerated:update",
        "dtmf": "- > PREPARING > Tolerated:dtmf",
        "barge_in": "- > PREPARING > Tolerated:barge_in",
        "playback_started": "- > PREPARING > Tolerated:playback_started",
        "playback_completed": "- > PREPARING > Tolerated:playback_completed",
        "error": "- > PREPARING > PeerError",
        "close": "closed > CLOSED > Ended:end",
        "unknown type": "- > PREPARING > Tolerated:unknown-type",
        "close, wrong seq": _FAULT_CLOSED,
        "close, malformed": _FAULT_CLOSED,
        "audio": _FAULT,
        "audio, nothing in it": _FAULT,
        "audio, half a sample": _FAULT,
    }
    | _FAULTS,
    "OPENING": {
        "open": _FAULT,
        "ping": "pong > OPENING > RoundTrip",
        "paused": "- > OPENING > Tolerated:paused",
        "resumed": "- > OPENING > Tolerated:resumed",
        "discarded": "- > OPENING > Tolerated:discarded",
        "update": "- > OPENING > -",
        "dtmf": "- > OPENING > Tolerated:dtmf",
        "barge_in": "- > OPENING > Tolerated:barge_in",
        "playback_started": "- > OPENING > Tolerated:playback_started",
        "playback_completed": "- > OPENING > Tolerated:playback_completed",
        "error": "- > OPENING > PeerError",
        "close": "closed > CLOSED > Ended:end",
        "unknown type": "- > OPENING > Tolerated:unknown-type",
        "close, wrong seq": _FAULT_CLOSED,
        "close, malformed": _FAULT_CLOSED,
        "audio": _FAULT,
        "audio, nothing in it": _FAULT,
        "audio, half a sample": _FAULT,
    }
    | _FAULTS,
    "OPEN": {
        "paused": "- > OPEN > Paused",
        "resumed": "- > OPEN > Gap:8000",
        "discarded": "- > OPEN > Gap:16000",
        "audio": "- > OPEN > -",
        "audio, nothing in it": "- > OPEN > -",
        "audio, half a sample": _FAULT,
    }
    | _OPEN,
    "OPEN paused": {
        "paused": "- > OPEN > Tolerated:paused",
        "resumed": "- > OPEN > Gap:8000 Resumed",
        "discarded": "- > OPEN > Gap:16000",
        "audio": "- > OPEN > AudioWhilePaused Tolerated:audio-while-paused",
        "audio, nothing in it": "- > OPEN > Tolerated:audio-while-paused",
        "audio, half a sample": "- > OPEN > AudioWhilePaused Tolerated:audio-while-paused",
    }
    | _OPEN,
    "OPEN without media": {
        "paused": "- > OPEN > Paused",
        "resumed": "- > OPEN > Gap:8000",
        "discarded": "- > OPEN > Gap:16000",
        "audio": "- > OPEN > Tolerated:audio-without-media",
        "audio, nothing in it": "- > OPEN > Tolerated:audio-without-media",
        "audio, half a sample": "- > OPEN > Tolerated:audio-without-media",
    }
    | _OPEN,
    "DISCONNECTING": {
        "close": "- > CLOSING > Closing:end",
        "close, wrong seq": "- > CLOSING > Closing:end",
        "close, malformed": "- > CLOSING > Tolerated:malformed Closing:error",
    }
    | _DISCONNECTING,
    "DISCONNECTING refused": {
        "close": "closed > CLOSED > Ended:end",
        "close, wrong seq": "closed > CLOSED > Ended:end",
        "close, malformed": "closed > CLOSED > Tolerated:malformed Ended:error",
    }
    | _DISCONNECTING,
    "CLOSING": {
        "open": "- > CLOSING > Tolerated:open",
        "ping": "pong > CLOSING > RoundTrip",
        "paused": "- > CLOSING > Tolerated:paused",
        "resumed": "- > CLOSING > Gap:8000",
        "discarded": "- > CLOSING > Gap:16000",
        "update": "- > CLOSING > Tolerated:update",
        "dtmf": "- > CLOSING > Tolerated:dtmf",
        "barge_in": "- > CLOSING > Tolerated:barge_in",
        "playback_started": "- > CLOSING > Tolerated:playback_started",
        "playback_completed": "- > CLOSING > Tolerated:playback_completed",
        "error": "- > CLOSING > PeerError",
        "close": "- > CLOSING > Tolerated:close",
        "unknown type": "- > CLOSING > Tolerated:unknown-type",
        "malformed JSON": "- > CLOSING > Tolerated:malformed",
        "wrong seq": "pong > CLOSING > RoundTrip",
        "repeated seq": "pong > CLOSING > RoundTrip",
        "wrong id": "pong > CLOSING > RoundTrip",
        "serverseq too high": "pong > CLOSING > RoundTrip",
        "wrong version": "- > CLOSING > Tolerated:malformed",
        "parameters missing something": "- > CLOSING > Tolerated:malformed",
        "close, wrong seq": "- > CLOSING > Tolerated:close",
        "close, malformed": "- > CLOSING > Tolerated:malformed",
        "oversize": "- > CLOSING > Tolerated:malformed",
        "audio": "- > CLOSING > Tolerated:audio-late",
        "audio, nothing in it": "- > CLOSING > Tolerated:audio-late",
        "audio, half a sample": "- > CLOSING > Tolerated:audio-late",
    },
    "CLOSED": dict.fromkeys(STIMULI, _NOTHING.format("CLOSED")),
    "GONE": dict.fromkeys(STIMULI, _NOTHING.format("GONE")),
}


def in_words(message: dict[str, Any]) -> str:
    """``disconnect:error``, ``pong``."""
    reason = message["parameters"].get("reason")
    return f"{message['type']}:{reason}" if reason else message["type"]


#: The field of an event that the table names.
_TELLING = {
    events.Tolerated: "what",
    events.Gap: "samples",
    events.Closing: "reason",
    events.Ended: "reason",
    events.LanguageChanged: "language",
    events.Dtmf: "digit",
    events.Playback: "started",
}


def event_in_words(event: events.Event) -> str:
    """``Gap:8000``, ``Paused``."""
    field = _TELLING.get(type(event))
    name = type(event).__name__
    return f"{name}:{getattr(event, field)}" if field else name


@pytest.mark.parametrize("stimulus", STIMULI)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_state_meets_everything(situation: str, stimulus: str) -> None:
    client = SITUATIONS[situation]()
    client.said(), client.happened()

    STIMULI[stimulus](client)

    said = " ".join(map(in_words, client.said())) or "-"
    happened = " ".join(map(event_in_words, client.happened())) or "-"
    assert f"{said} > {client.session.state.name} > {happened}" == TABLE[situation][stimulus]
    client.assert_all_reported()


def test_the_table_is_complete() -> None:
    assert {situation: set(row) for situation, row in TABLE.items()} == {key: set(STIMULI) for key in SITUATIONS}
    assert {situation.split()[0] for situation in SITUATIONS} == {state.name for state in State}
    assert set(PARAMETERS) == set(CLIENT_MESSAGES)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_each_situation_is_in_the_state_of_its_name(situation: str) -> None:
    assert SITUATIONS[situation]().session.state.name == situation.split(maxsplit=1)[0]


WRONG: dict[str, Callable[[WireClient], dict[str, Any]]] = {
    "seq too high": lambda client: {"seq": client.seq + 2},
    "seq repeated": lambda client: {"seq": client.seq},
    "seq negative": lambda client: {"seq": -1},
    "seq fractional": lambda client: {"seq": client.seq + 1.5},
    "serverseq too high": lambda client: {"serverseq": client.serverseq + 1},
    "serverseq missing": lambda client: {"serverseq": None},
    "another id": lambda client: {"id": OTHER_ID},
    "no id": lambda client: {"id": "me"},
    "another version": lambda client: {"version": "3"},
    "no position": lambda client: {"position": "PT5.S"},
    "parameters no object": lambda client: {"parameters": []},
}


@pytest.mark.parametrize("name", [*PARAMETERS, "weather_report"])
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("situation", ["PREPARING", "OPENING", "OPEN", "OPEN paused"])
def test_no_message_is_acted_upon_when_its_envelope_is_wrong(situation: str, wrong: str, name: str) -> None:
    client = SITUATIONS[situation]()
    client.said(), client.happened()

    client.say(name, **WRONG[wrong](client))

    assert in_words(client.said()[0]) == "disconnect:error"
    assert isinstance(client.happened()[0], events.Fault)
    never_open = situation in {"PREPARING", "OPENING"}
    after_close = State.CLOSED if never_open else State.CLOSING
    ending = after_close if name == "close" else State.DISCONNECTING
    assert client.session.state is ending


# ---- the two tables of the program --------------------------------------------------------------------

#: What ends a session, by hand from section 5.2: audio's messages before ``open``, and a second ``open``.
UNFORGIVABLE = {
    (State.PREPARING, "paused"),
    (State.PREPARING, "resumed"),
    (State.PREPARING, "discarded"),
    (State.OPENING, "open"),
    (State.OPEN, "open"),
}


def test_each_message_means_exactly_one_thing_in_each_state() -> None:
    known = {(state, name) for state in State if state is not State.GONE for name in CLIENT_MESSAGES}
    assert set(LEGAL) | set(TOLERATED) | UNFORGIVABLE == known
    assert len(LEGAL) + len(TOLERATED) + len(UNFORGIVABLE) == len(known)


@pytest.mark.parametrize("method", sorted(set(LEGAL.values())))
def test_every_legal_message_has_a_method(method: str) -> None:
    assert callable(getattr(Session, method))
