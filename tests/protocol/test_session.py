"""What a conversation on paper cannot tell: bytes that go back untouched, other timers, faults of our own side."""

import json
import math
from typing import Any

import msgspec
import pytest

from audiohookd.protocol import codec, events
from audiohookd.protocol.entities import (
    Alternative,
    BargeIn,
    BargeInData,
    BotTurnResponse,
    BotTurnResponseData,
    Transcript,
    TranscriptData,
)
from audiohookd.protocol.errors import LocalProtocolError
from audiohookd.protocol.media import Format, Media
from audiohookd.protocol.messages import read_object
from audiohookd.protocol.states import State
from audiohookd.protocol.timeouts import POSITION_LEEWAY, Timeouts
from tests.protocol.wire_client import OFFERS, PARAMETERS, SESSION_ID, WireClient, opened, opening


def request_of(client: WireClient) -> events.OpenRequested:
    """The client's ``open`` as it was reported."""
    (report,) = client.happened()
    assert isinstance(report, events.OpenRequested)
    return report


# ---- the selection -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "offer",
    [
        '{"type":"audio","format":"PCMU","channels":["external"],"rate":8000}',
        '{ "rate" : 8000, "channels" : ["internal" ,"external"], "format":"L16","type" :"audio" }',
        '{"x":1.50e2,"type":"audio","ü":"\\u00fc\\/","format":"PCMU","channels":["internal"],"rate":8000,"x":null}',
    ],
)
def test_the_selection_goes_back_byte_for_byte(offer: Any) -> None:
    client = WireClient()
    message = json.dumps(
        {
            "version": "2",
            "id": client.session.id,
            "type": "open",
            "seq": 1,
            "serverseq": 0,
            "position": "PT0S",
            "parameters": PARAMETERS["open"] | {"media": ["HERE"]},
        }
    )
    client.say_bytes(message.replace('"HERE"', offer).encode())

    assert client.session.accept(request_of(client).offers[0])

    (answer,) = client.session.take_outgoing()
    assert f'"media":[{offer}]'.encode() in answer


def test_a_selection_that_was_not_offered_is_completed() -> None:
    client = opening()
    assert client.session.accept(Media(Format.PCMU, ("external", "internal")))
    assert client.said()[0]["parameters"] == {"media": [OFFERS[0]]}


# ---- the request -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ({"queue": "sales", "constructor": {"__proto__": 1}}, {"queue": "sales", "constructor": {"__proto__": 1}}),
        ('{"queue": "sales"}', {"queue": "sales"}),
        ("", {}),
        ("no JSON", {}),
        ('"\\"{}\\""', {}),
        (["queue"], {}),
        (None, {}),
        (17, {}),
    ],
)
def test_custom_config_is_an_object_or_a_string_that_holds_one(sent: Any, read: Any) -> None:
    client = opening(customConfig=sent)
    assert read_object(request_of(client).request.custom_config) == read


def test_without_custom_config_it_is_empty() -> None:
    assert read_object(request_of(opening()).request.custom_config) == {}


def test_custom_config_may_be_as_large_as_genesys_allows() -> None:
    client = opening(customConfig={"text": "x" * 60_000})
    config = read_object(request_of(client).request.custom_config)
    assert config == {"text": "x" * 60_000}


def test_only_the_null_conversation_is_a_probe() -> None:
    assert not request_of(opening()).request.is_probe
    assert request_of(opening(conversationId="00000000-0000-0000-0000-000000000000")).request.is_probe


def test_the_participant_keeps_its_numbers_out_of_logs() -> None:
    participant = request_of(opening()).request.participant
    assert participant.ani == "+1-555-555-1234"
    assert "555" not in repr(participant)
    assert "John" not in str(participant)


# ---- the longest session -----------------------------------------------------------------------------


def talk(client: WireClient, seconds: int) -> None:
    """Real-time stereo audio, and a ping every 5 s."""
    for _ in range(seconds // 5):
        client.wait(5)
        assert client.send_audio(40_000)
        assert client.send_audio(40_000)
        client.say("ping", {})


@pytest.mark.parametrize("buffered", [0, 30])
def test_the_longest_session_ends_as_completed(buffered: float) -> None:
    # What the client buffered while it was being opened puts it ahead of our clock, and that is no fault of its own.
    client = opened(Timeouts(max_duration=60))
    client.say("discarded", {"start": "PT0S", "discarded": f"PT{buffered}S"})
    client.happened()

    talk(client, 55)
    assert {message["type"] for message in client.said()} == {"pong"}
    client.wait(4.999)
    assert client.said() == []
    client.wait(0.001)

    (message,) = client.said()
    assert message["parameters"] == {"reason": "completed", "info": "longest session reached"}
    assert not [event for event in client.happened() if isinstance(event, events.Fault)]
    assert client.session.position == (buffered + 55) * 8000


def test_audio_beyond_the_longest_session_is_refused() -> None:
    client = opened(Timeouts(max_duration=1))
    last = int(8000 * (1 + POSITION_LEEWAY))
    for _ in range(61):
        assert client.send_audio(16_000)

    assert not client.send_audio(2)

    assert client.session.position == last
    assert client.said()[0]["parameters"] == {"reason": "error", "info": "position too far"}


@pytest.mark.parametrize("timer", ["client_open_timeout", "accept_timeout", "idle_timeout", "plugin_closing_timeout"])
def test_a_tick_too_early_does_nothing(timer: Any) -> None:
    client = opened(Timeouts(**{timer: 3.0}))
    for _ in range(10):
        client.now += 0.1
        client.session.tick()
    assert (client.said(), client.happened(), client.session.state) == ([], [], State.OPEN)


# ---- our own faults ----------------------------------------------------------------------------------

HUGE = "x" * 64_000


@pytest.mark.parametrize(
    "fault",
    [
        lambda session: session.send_event([]),
        lambda session: session.send_event([{"type": "note", "data": HUGE}]),
        lambda session: session.send_event([{"type": "note", "data": object()}]),
        lambda session: session.send_event([{"type": "note", "data": "\ud800"}]),
        lambda session: session.send_event([{"type": "note", "data": 10**5000}]),
        lambda session: session.send_event(["transcript"]),
        lambda session: session.send_event([{"data": {}}]),
        lambda session: session.send_event([{"type": "note"}]),
        lambda session: session.send_event([{"type": 7, "data": {}}]),
        lambda session: session.send_event([{"type": "note", "data": math.nan}]),
        lambda session: session.send_event([{"type": "transcript", "data": {}}]),
        lambda session: session.send_event([BargeIn(), {"type": "barge_in", "data": None}]),
        lambda session: session.send_event([BargeInData()]),
        lambda session: session.send_event([BotTurnResponse(BotTurnResponseData("match", None, math.nan))]),
        lambda session: session.send_event([BotTurnResponse(BotTurnResponseData("match", None, math.inf))]),
        lambda session: session.send_event([BotTurnResponse(BotTurnResponseData("match", None, 1.5))]),
        lambda session: session.send_event([BotTurnResponse(BotTurnResponseData("perhaps"))]),  # type: ignore[arg-type]
        lambda session: session.send_event([Transcript(TranscriptData("1", 0, True, (Alternative(math.nan, ()),)))]),
        lambda session: session.disconnect("error", HUGE),
        lambda session: session.disconnect("completed", None, {"outcome": HUGE}),
        lambda session: session.disconnect("bored"),
        lambda session: session.disconnect(None),
        lambda session: session.disconnect(["error"]),
        lambda session: session.disconnect("error", 5),
        lambda session: session.disconnect("error", None, [("outcome", "sold")]),
        lambda session: session.disconnect("error", None, {"outcome": 5}),
        lambda session: session.send_event("barge_in"),
        lambda session: session.reconnect(HUGE),
    ],
)
def test_our_own_fault_is_raised_at_our_side_and_leaves_no_trace(fault: Any) -> None:
    client = opened()

    with pytest.raises(LocalProtocolError):
        fault(client.session)

    assert (client.said(), client.happened(), client.session.state) == ([], [], State.OPEN)
    client.say("ping", {})
    assert client.said()[0]["seq"] == 2


def test_a_reason_that_does_not_exist_is_our_fault_in_an_ended_session_too() -> None:
    client = opened()
    client.say("close")
    client.said()
    with pytest.raises(LocalProtocolError, match="no reason 'bored'"):
        client.session.disconnect("bored")  # type: ignore[arg-type]
    assert not client.session.disconnect("completed")
    assert (client.said(), client.session.state) == ([], State.CLOSING)


def test_an_opened_that_is_too_large_can_be_mended() -> None:
    client = opening()
    with pytest.raises(LocalProtocolError):
        client.session.accept(None, supported_languages=[HUGE])
    assert client.session.state is State.OPENING
    assert client.session.accept(None, supported_languages=["en"])
    assert client.said()[0]["seq"] == 1


def test_the_largest_event_that_may_be_sent_is_sent() -> None:
    client = opened()
    largest = codec.max_entities(SESSION_ID) - len(json.dumps(note(""), separators=(",", ":"))) - 1
    with pytest.raises(LocalProtocolError, match="bytes of entities exceed the limit of"):
        client.session.send_event([note("x" * (largest + 1))])
    assert client.session.send_event([note("x" * largest)])
    (data,) = client.session.take_outgoing()
    counters = len(str(2**53 - 1)) - 1  # digits by which the largest counter is longer than this one
    assert len(data) == 64_000 - 2 * counters


def note(text: str) -> Any:
    """An entity that the daemon does not know."""
    return {"type": "note", "data": text}


def test_every_message_that_came_is_reported_as_it_came() -> None:
    client = WireClient()
    client.say("ping", {"rtt": "PT1S"})
    client.say("ping", {}, seq=9)
    client.say_bytes(b"no message at all")
    reported = []
    while (event := client.session.next_event()) is not None:
        if isinstance(event, events.Message) and not event.outgoing:
            reported.append(msgspec.json.decode(event.data)["seq"])
    assert reported == [1, 9]


# ---- what our side may read --------------------------------------------------------------------------


def test_our_wish_to_pause_and_what_the_client_reports_are_kept_apart() -> None:
    client = opened()
    session = client.session
    assert (session.pause_wanted, session.paused) == (False, False)
    session.pause()
    assert (session.pause_wanted, session.paused) == (True, False)
    client.say("paused")
    assert (session.pause_wanted, session.paused) == (True, True)
    session.resume()
    assert (session.pause_wanted, session.paused) == (False, True)
    client.say("resumed")
    assert (session.pause_wanted, session.paused) == (False, False)


def test_to_start_paused_is_a_wish_of_ours() -> None:
    client = opening()
    client.session.accept(None, start_paused=True)
    assert (client.session.pause_wanted, client.session.paused) == (True, False)


def test_nothing_is_written_to_a_connection_that_is_gone() -> None:
    client = opened()
    client.session.pause()
    client.session.connection_lost()
    assert client.session.take_outgoing() == []


def test_only_what_can_still_happen_is_awaited() -> None:
    client = opened()
    assert client.session.next_deadline() == client.now + 20
    client.session.disconnect("completed")
    assert client.session.next_deadline() == client.now + 10
    client.say("close")
    assert client.session.next_deadline() == client.now + 8
    client.session.finish()
    assert client.session.next_deadline() == client.now + 5
    client.wait(5)
    assert client.session.finished
    assert client.session.next_deadline() is None


def test_when_the_connection_is_gone_nothing_is_awaited() -> None:
    client = opened()
    client.session.connection_lost()
    assert client.session.next_deadline() is None


def test_the_operator_holds_a_pause_that_no_plugin_ends() -> None:
    client = opened()
    assert client.session.hold_pause(True)
    assert [message["type"] for message in client.said()] == ["pause"]
    assert not client.session.resume()
    assert client.session.hold_pause(False)
    assert [message["type"] for message in client.said()] == ["resume"]
    client.say("close")
    assert not client.session.hold_pause(True)


def test_a_session_knows_whether_something_waits() -> None:
    client = opened()
    assert not client.session.has_waiting
    for _ in range(5):
        client.session.pause()
    assert client.session.has_waiting
    assert client.session.has_news
    client.said()
    client.wait(0.5)
    assert not client.session.has_waiting


def test_results_that_wait_have_a_limit() -> None:
    client = opened()
    client.say("error", {"code": 429, "message": "slow", "retryAfter": "PT60S"})
    sent = [client.session.send_event([note("x" * 60_000)]) for _ in range(6)]
    assert sent == [True] * 4 + [False] * 2
