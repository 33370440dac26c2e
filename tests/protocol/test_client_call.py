"""The client's side of a session in the course of a call: pings, pauses, events, and the end."""

from typing import Any

import pytest

from audiohookd.protocol import events, messages
from audiohookd.protocol.client.events import Disconnected, Results
from tests.protocol.client_rig import Wire, assert_refused, open_wire, types


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

    def test_a_pong_for_another_ping_is_an_error(self) -> None:
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
    def test_an_event_is_reported(self) -> None:
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

    def test_a_closed_client_sends_nothing(self) -> None:
        wire = open_wire()
        wire.client.close()
        wire.say(messages.Closed())
        client = wire.client
        assert [client.close(), client.pause(), client.resume(), client.ping(), client.update("de")] == [False] * 5
        assert wire.say(messages.Pause()) == []

    def test_a_reconnect_message_does_not_end_the_session(self) -> None:
        wire = open_wire()
        assert wire.say(messages.Reconnect("please")) == []
        assert wire.client.is_open
        assert wire.told(events.Tolerated)
