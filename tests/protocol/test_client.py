"""The client's side of a session: on its own, and in talk with the server's side."""

import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiohookd.protocol import events, messages
from audiohookd.protocol.client import HISTORY, Accepted, ClientSession, ClientTimers, Disconnected, Results
from audiohookd.protocol.client_checks import offers
from audiohookd.protocol.client_states import ClientState
from audiohookd.protocol.codec import encode_server
from audiohookd.protocol.entities import BargeIn
from audiohookd.protocol.media import Media
from audiohookd.protocol.session import Session
from audiohookd.protocol.states import State
from audiohookd.protocol.timers import Timers

ID = "11111111-1111-4111-8111-111111111111"
OTHER_ID = "22222222-2222-4222-8222-222222222222"
OPENING = messages.Open(
    organization_id=OTHER_ID,
    conversation_id=ID,
    participant=messages.Participant(ID),
    media=offers(2),
)

OFFERED = [json.loads(bytes(offer)) for offer in OPENING.media]


class FakeTime:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Wire:
    """A client, and a server that says what the test wants, well counted."""

    def __init__(self, opening: messages.Open = OPENING) -> None:
        self.time = FakeTime()
        self.client = ClientSession(ID, opening, self.time)
        self.server_seq = 0
        self.sent: list[dict[str, Any]] = []
        self.events: list[events.Event] = []
        self.client.start()

    def take(self) -> list[dict[str, Any]]:
        """What the client has sent since."""
        taken = [json.loads(data) for data in self.client.take_outgoing()]
        self.sent += taken
        while (event := self.client.next_event()) is not None:
            self.events.append(event)
        return taken

    def say(self, parameters: messages.Parameters, /, **changes: Any) -> list[dict[str, Any]]:
        """The server says this; returns what the client answers."""
        self.take()
        self.server_seq += 1
        data = json.loads(encode_server(ID, self.server_seq, len(self.sent), parameters))
        return self.say_raw(json.dumps(data | changes).encode())

    def say_raw(self, data: bytes) -> list[dict[str, Any]]:
        self.client.receive_text(data)
        return self.take()

    def wait(self, seconds: float) -> list[dict[str, Any]]:
        """Time goes by, and the client's deadlines with it."""
        end = self.time.now + seconds
        while (due := self.client.next_deadline()) is not None and due <= end:
            self.time.now = max(self.time.now, due)
            self.client.tick()
            if self.client.finished:
                break
        self.time.now = end
        return self.take()

    def told(self, kind: type[events.Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def opened(media: Iterable[Any] = OPENING.media[:1], **more: Any) -> messages.Opened:
    return messages.Opened(media=tuple(media), **more)


def open_wire(**more: Any) -> Wire:
    wire = Wire()
    wire.say(opened(**more))
    assert wire.client.is_open
    return wire


def types(sent: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in sent]


def assert_refused(wire: Wire, answer: list[dict[str, Any]], code: int) -> None:
    """The client said error and close, and reports one fault."""
    assert types(answer) == ["error", "close"]
    assert answer[0]["parameters"]["code"] == code
    assert answer[1]["parameters"] == {"reason": "error"}
    (fault,) = wire.told(events.Fault)
    assert fault.detail.startswith(str(code))
    assert wire.client.state is ClientState.CLOSING


class TestOpening:
    def test_offers_what_genesys_cloud_offers(self) -> None:
        (message,) = Wire().take()
        assert message["type"] == "open"
        assert (message["seq"], message["serverseq"], message["position"]) == (1, 0, "PT0S")
        offered = message["parameters"]["media"]
        assert [offer["channels"] for offer in offered] == [["external", "internal"], ["external"], ["internal"]]
        assert {(offer["type"], offer["format"], offer["rate"]) for offer in offered} == {("audio", "PCMU", 8000)}

    def test_offers_one_channel_of_a_mono_source(self) -> None:
        assert [json.loads(bytes(offer))["channels"] for offer in offers(1)] == [["external"]]

    @pytest.mark.parametrize("index", [0, 1, 2])
    def test_takes_any_of_its_offers(self, index: int) -> None:
        wire = open_wire(media=OPENING.media[index : index + 1])
        (event,) = wire.told(Accepted)
        assert json.loads(bytes(event.media.to_wire())) == OFFERED[index]

    def test_takes_a_selection_whose_fields_are_in_another_order(self) -> None:
        turned = msgspec.Raw(json.dumps(dict(reversed(OFFERED[0].items())), indent=1).encode())
        assert open_wire(media=[turned]).client.media is not None

    def test_needs_no_medium(self) -> None:
        wire = open_wire(media=[])
        assert wire.client.media is None
        assert not wire.client.advance(1600)
        assert wire.client.position == 1600

    def test_reports_languages(self) -> None:
        wire = open_wire(supported_languages=("en-US", "de"))
        assert wire.told(Accepted)[0].supported_languages == ("en-US", "de")

    @pytest.mark.parametrize(
        "selection",
        [
            OFFERED[:2],
            [{"type": "audio", "format": "L16", "channels": ["external"], "rate": 8000}],
            [{"type": "audio", "format": "PCMU", "channels": ["internal", "external"], "rate": 8000}],
            [{"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000, "extra": 1}],
            [None],
        ],
    )
    def test_refuses_a_selection_that_it_did_not_offer(self, selection: list[Any]) -> None:
        wire = Wire()
        raws = [msgspec.Raw(json.dumps(item).encode()) for item in selection]
        assert_refused(wire, wire.say(opened(media=raws)), 400)

    def test_skips_history_at_the_servers_wish_before_it_is_paused(self) -> None:
        wire = Wire()
        answer = wire.say(opened(discard_to="PT2.5S", start_paused=True))
        assert types(answer) == ["discarded", "paused"]
        assert answer[0]["parameters"] == {"start": "PT0S", "discarded": "PT2.5S"}
        assert answer[1]["position"] == "PT2.5S"

    def test_skips_no_more_than_there_is_history(self) -> None:
        wire = open_wire(discard_to="PT9999999S")
        assert wire.client.position == HISTORY

    def test_waits_five_seconds_for_opened(self) -> None:
        wire = Wire()
        assert types(wire.wait(4.9)) == ["open"]
        assert_refused(wire, wire.wait(0.2), 408)

    def test_may_close_before_it_is_opened(self) -> None:
        wire = Wire()
        assert wire.client.close()
        assert wire.say(opened())[1:] == []
        wire.say(messages.Closed())
        assert wire.client.finished
        assert wire.told(events.Fault) == []


class TestCounters:
    def test_acknowledges_what_it_has_seen(self) -> None:
        wire = open_wire()
        assert wire.say(messages.Pause())[0]["serverseq"] == 2

    @pytest.mark.parametrize(
        "changes",
        [{"seq": 3}, {"seq": 1}, {"seq": 0}, {"clientseq": 99}, {"id": OTHER_ID}],
        ids=["gap", "repeated", "zero", "never-sent", "other-session"],
    )
    def test_refuses_what_does_not_follow(self, changes: dict[str, Any]) -> None:
        wire = open_wire()
        assert_refused(wire, wire.say(messages.Resume(), **changes), 400)

    @pytest.mark.parametrize("changes", [{"version": "3"}, {"parameters": None}, {"seq": "2"}, {"type": ""}])
    def test_refuses_a_broken_envelope(self, changes: dict[str, Any]) -> None:
        wire = open_wire()
        assert_refused(wire, wire.say(messages.Resume(), **changes), 400)

    def test_refuses_what_is_too_large(self) -> None:
        wire = open_wire()
        assert_refused(wire, wire.say_raw(b"x" * 65_537), 413)

    def test_refuses_audio(self) -> None:
        wire = open_wire()
        wire.client.receive_audio(b"\xff" * 160)
        assert_refused(wire, wire.take(), 415)

    def test_complains_once_and_still_takes_closed(self) -> None:
        wire = open_wire()
        wire.say_raw(b"no JSON")
        assert wire.say_raw(b"nor this") == []
        wire.say(messages.Closed(), seq=77)
        assert wire.client.finished
        assert len(wire.told(events.Fault)) == 1


class TestUnexpected:
    @pytest.mark.parametrize("parameters", [messages.Pong(), messages.Pause(), messages.Closed(), messages.Updated()])
    def test_before_opened(self, parameters: messages.Parameters) -> None:
        wire = Wire()
        assert_refused(wire, wire.say(parameters), 409)

    @pytest.mark.parametrize("parameters", [messages.Pong(), opened(), messages.Closed(), messages.Updated()])
    def test_while_open(self, parameters: messages.Parameters) -> None:
        wire = open_wire()
        assert_refused(wire, wire.say(parameters), 409)

    def test_a_type_that_nobody_knows(self) -> None:
        wire = open_wire()
        assert_refused(wire, wire.say(messages.Pong(), type="surprise"), 409)

    @pytest.mark.parametrize(
        "parameters", [opened(), messages.Pause(), messages.Resume(), messages.Updated(), messages.Reconnect()]
    )
    def test_but_not_what_crossed_our_close(self, parameters: messages.Parameters) -> None:
        wire = open_wire()
        wire.client.close()
        wire.take()
        assert wire.say(parameters) == []
        assert wire.told(events.Fault) == []


class TestPing:
    def test_comes_twice_soon_and_then_every_five_seconds(self) -> None:
        wire = open_wire()
        start = wire.time.now
        at = []
        for _ in range(130):
            for ping in wire.wait(0.1):
                assert ping["type"] == "ping"
                at.append(round(wire.time.now - start, 1))
                wire.say(messages.Pong())
        assert at == [1.0, 2.0, 7.0, 12.0]

    def test_tells_the_round_trip_from_the_second_on(self) -> None:
        wire = open_wire()
        first = wire.wait(1)
        wire.wait(0.25)
        wire.say(messages.Pong())
        second = wire.wait(1)
        assert first[0]["parameters"] == {}
        assert second[0]["parameters"] == {"rtt": "PT0.25S"}
        assert wire.told(events.RoundTrip) == [events.RoundTrip(250_000_000)]

    def test_is_refused_when_the_pong_answers_another(self) -> None:
        wire = open_wire()
        wire.wait(1)
        assert_refused(wire, wire.say(messages.Pong(), clientseq=1), 400)

    def test_waits_five_seconds_for_its_pong(self) -> None:
        wire = open_wire()
        wire.wait(1)
        assert wire.wait(4.9) == []
        assert_refused(wire, wire.wait(0.2), 408)

    def test_proves_what_the_server_has_read(self) -> None:
        wire = open_wire()
        wire.client.advance(8000)
        assert wire.client.ping()
        assert not wire.client.ping()
        wire.client.advance(1600)
        assert wire.client.in_flight == 9600
        wire.say(messages.Pong())
        assert wire.client.in_flight == 1600


class TestPauses:
    def test_at_the_servers_wish(self) -> None:
        wire = open_wire()
        assert wire.client.advance(1600)
        (paused,) = wire.say(messages.Pause())
        assert (paused["type"], paused["position"]) == ("paused", "PT0.2S")
        assert not wire.client.advance(800)
        (resumed,) = wire.say(messages.Resume())
        assert resumed["parameters"] == {"start": "PT0.2S", "discarded": "PT0.1S"}
        assert resumed["position"] == "PT0.3S"
        assert wire.client.advance(1600)
        assert wire.client.samples_sent == 3200
        assert len(wire.told(events.Paused)) == len(wire.told(events.Resumed)) == 1

    def test_asked_for_twice_are_confirmed_twice(self) -> None:
        wire = open_wire()
        assert types(wire.say(messages.Pause()) + wire.say(messages.Pause())) == ["paused", "paused"]
        assert len(wire.told(events.Paused)) == 1

    def test_asked_to_end_when_there_is_none(self) -> None:
        (resumed,) = open_wire().say(messages.Resume())
        assert resumed["parameters"] == {"start": "PT0S", "discarded": "PT0S"}

    def test_of_the_client_outlast_the_servers(self) -> None:
        wire = open_wire()
        wire.client.pause()
        assert types(wire.take()) == ["paused"]
        assert types(wire.say(messages.Pause())) == ["paused"]
        assert types(wire.say(messages.Resume())) == ["paused"]
        wire.client.resume()
        assert types(wire.take()) == ["resumed"]

    def test_of_the_server_outlast_the_clients(self) -> None:
        wire = open_wire()
        wire.say(messages.Pause())
        wire.client.pause()
        assert types(wire.take()) == ["paused"]
        wire.client.resume()
        assert wire.take() == []
        assert wire.client.paused
        assert types(wire.say(messages.Resume())) == ["resumed"]


class TestEvents:
    def test_are_told(self) -> None:
        wire = open_wire()
        entity = {"type": "barge_in", "data": {}}
        wire.say(messages.Event((entity,)))
        assert wire.told(Results) == [Results((entity,))]

    def test_of_an_unknown_type_are_told(self) -> None:
        wire = open_wire()
        wire.say(messages.Event(({"type": "novelty", "data": 1},)))
        assert wire.told(Results)

    def test_come_after_close_too(self) -> None:
        wire = open_wire()
        wire.client.close()
        wire.say(messages.Event(({"type": "barge_in", "data": {}},)))
        assert wire.told(Results)

    @pytest.mark.parametrize(
        "entity", [1, {}, {"type": "barge_in"}, {"type": [], "data": 1}, {"type": "transcript", "data": {}}]
    )
    def test_are_refused_when_malformed(self, entity: Any) -> None:
        wire = open_wire()
        assert_refused(wire, wire.say(messages.Event((entity,))), 400)

    def test_without_entities_are_noted(self) -> None:
        wire = open_wire()
        assert wire.say(messages.Event(())) == []
        assert wire.told(events.Tolerated)


class TestEnd:
    def test_of_a_call(self) -> None:
        wire = open_wire()
        wire.client.close()
        assert wire.take()[-1]["parameters"] == {"reason": "end"}
        assert not wire.client.finished
        wire.say(messages.Closed())
        assert wire.client.finished
        assert wire.events[-1] == events.Ended("end")
        wire.client.connection_lost()
        assert wire.take() == []
        assert wire.events[-1] == events.Ended("end")
        assert wire.client.next_deadline() is None

    @pytest.mark.parametrize("is_open", [False, True])
    def test_at_the_servers_wish(self, is_open: bool) -> None:
        wire = open_wire() if is_open else Wire()
        answer = wire.say(messages.Disconnect("error", "no room"))
        assert answer[-1]["parameters"] == {"reason": "disconnect"}
        assert wire.told(Disconnected) == [Disconnected("error", "no room")]
        wire.say(messages.Closed())
        assert wire.events[-1] == events.Ended("disconnect")
        assert wire.told(events.Fault) == []

    def test_waits_ten_seconds_for_closed(self) -> None:
        wire = open_wire()
        wire.client.close()
        assert types(wire.wait(9.9)) == ["close"]
        assert types(wire.wait(0.2)) == ["error"]
        assert wire.client.finished
        assert wire.told(events.Fault)

    def test_without_a_connection(self) -> None:
        wire = open_wire()
        wire.client.connection_lost()
        wire.take()
        assert wire.events[-1] == events.Ended(events.CONNECTION_LOST)
        assert not wire.client.advance(1600)
        assert wire.client.next_deadline() is None

    def test_is_final(self) -> None:
        wire = open_wire()
        wire.client.close()
        wire.say(messages.Closed())
        client = wire.client
        assert [client.close(), client.pause(), client.resume(), client.ping(), client.update("de")] == [False] * 5
        assert wire.say(messages.Pause()) == []

    def test_is_no_handover(self) -> None:
        wire = open_wire()
        assert wire.say(messages.Reconnect("please")) == []
        assert wire.client.is_open
        assert wire.told(events.Tolerated)


class Pair:
    """A client and the real server's side, with a wire that keeps the order of texts and audio."""

    def __init__(self) -> None:
        self.time = FakeTime()
        self.client = ClientSession(ID, OPENING, self.time, ClientTimers())
        self.server = Session(ID, OTHER_ID, Timers(), self.time)
        self.received = 0
        self.gaps: list[events.Gap] = []
        self.faults: list[events.Event] = []
        self.results: list[Any] = []
        self.client.start()
        self.talk()

    def talk(self) -> None:
        """Until nobody has anything to say."""
        while self._to_server() | self._to_client():
            pass

    def _to_server(self) -> bool:
        outgoing = self.client.take_outgoing()
        for data in outgoing:
            self.server.receive_text(data)
            self._tell_server()
        return bool(outgoing)

    def _to_client(self) -> bool:
        outgoing = self.server.take_outgoing()
        for data in outgoing:
            self.client.receive_text(data)
        while (event := self.client.next_event()) is not None:
            if isinstance(event, events.Fault):
                self.faults.append(event)
            if isinstance(event, Results):
                self.results += event.entities
        return bool(outgoing)

    def _tell_server(self) -> None:
        while (event := self.server.next_event()) is not None:
            match event:
                case events.OpenRequested(offers=offered):
                    self.server.accept(offered[0])
                case events.Closing():
                    self.server.send_event([BargeIn()])
                    self.server.finish()
                case events.Gap():
                    self.gaps.append(event)
                case events.Fault() | events.Tolerated():
                    self.faults.append(event)

    def speak(self, samples: int) -> None:
        """Time and audio go on."""
        self.time.now += samples / 8000
        self.client.tick()
        self.server.tick()
        self.talk()
        if self.client.advance(samples):
            assert self.server.receive_audio(b"\xff" * (2 * samples))
            self.received += samples


ACTIONS = st.one_of(
    st.tuples(st.just("speak"), st.integers(1, 32_000)),
    st.tuples(st.sampled_from(["server.pause", "server.resume", "client.pause", "client.resume", "update"])),
)


@given(st.lists(ACTIONS, max_size=40))
@settings(deadline=None)
def test_both_sides_agree_whoever_pauses(actions: list[tuple[Any, ...]]) -> None:
    pair = Pair()
    for name, *arguments in actions:
        if name == "speak":
            pair.speak(*arguments)
        elif name == "update":
            pair.client.update("de-DE")
        else:
            side, _, verb = name.partition(".")
            getattr(getattr(pair, side), verb)()
        pair.talk()
    if pair.client.paused:
        pair.client.resume()
        pair.server.resume()
        pair.talk()
    assert pair.client.position == pair.server.position
    assert pair.server.paused is pair.client.paused is False
    assert pair.received == pair.client.samples_sent
    assert pair.received + sum(gap.samples for gap in pair.gaps) == pair.server.position
    pair.client.close()
    pair.talk()
    assert pair.client.finished
    assert pair.server.state is State.CLOSED
    assert pair.results == [{"type": "barge_in", "data": {}}]
    assert [fault for fault in pair.faults if fault != events.Tolerated("paused")] == []


SERVER_TYPES = st.sampled_from([*messages.SERVER_MESSAGES, "unknown"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PARAMETERS = st.one_of(
    st.just({}),
    st.just({"media": [OFFERED[0]]}),
    st.just({"reason": "error"}),
    st.fixed_dictionaries({"media": st.lists(JSON, max_size=2), "discardTo": st.just("PT3S")}),
    st.fixed_dictionaries({"entities": st.lists(JSON, max_size=2)}),
    JSON,
)


@given(st.lists(st.tuples(SERVER_TYPES, PARAMETERS, st.integers(0, 3), st.integers(0, 11)), max_size=12))
def test_whatever_the_server_says_never_raises(said: list[tuple[str, Any, int, int]]) -> None:
    wire = Wire()
    for number, (type_, parameters, clientseq, seconds) in enumerate(said, 1):
        envelope = {"version": "2", "id": ID, "type": type_, "seq": number, "clientseq": clientseq}
        wire.say_raw(json.dumps(envelope | {"parameters": parameters}).encode())
        wire.wait(seconds)
    assert [message["seq"] for message in wire.sent] == list(range(1, len(wire.sent) + 1))
    assert types(wire.sent).count("close") <= 1
    assert types(wire.sent).count("error") <= 1
    assert len(wire.told(events.Ended)) <= 1


@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    wire = open_wire()
    wire.say_raw(data)
    assert len(wire.told(events.Fault)) == 1


def test_deep_nesting_is_a_fault_and_no_more() -> None:
    for data in (b"[" * 60_000, b'{"parameters":' * 4000):
        wire = open_wire()
        wire.say_raw(data)
        assert wire.told(events.Fault)


def test_a_selected_medium_is_used_as_media() -> None:
    assert isinstance(open_wire().client.media, Media)
