"""The client of an Audio Connector: what the caller hears, and when the client reports it."""

from typing import Any

from msgspec.structs import replace

from audiohookd.protocol import events, messages
from audiohookd.protocol.client.checks import offers
from audiohookd.protocol.client.events import Heard, Stopped
from tests.protocol.client_rig import OPENING, Wire, assert_refused

SECOND = 8_000


class Connector(Wire):
    """An open session of a client that plays audio."""

    def __init__(self, *, has_audio: bool = True) -> None:
        opening = replace(OPENING, media=offers(1))
        super().__init__(opening, plays_audio=True)
        self.take()
        self.say(messages.Opened(media=opening.media if has_audio else ()))
        self.take()
        self.events.clear()

    def hear(self, size: int) -> list[str]:
        """The server sends audio; returns the types of the client's messages."""
        self.client.receive_audio(bytes(size))
        return [message["type"] for message in self.take()]

    def types_after(self, seconds: float) -> list[str]:
        return [message["type"] for message in self.wait(seconds) if message["type"] != "ping"]

    def barge_in(self) -> list[Any]:
        return self.say(messages.Event(({"type": "barge_in", "data": {}},)))


def test_playback_is_reported_at_its_begin_and_its_end() -> None:
    wire = Connector()
    assert wire.hear(SECOND // 2) == ["playback_started"]
    assert wire.types_after(0.4) == []
    assert wire.hear(SECOND // 4) == []
    assert wire.types_after(0.3) == []
    assert wire.types_after(0.1) == ["playback_completed"]
    assert wire.hear(80) == ["playback_started"]
    playing = [event.started for event in wire.events if isinstance(event, events.Playback)]
    assert playing == [True, False, True]


def test_audio_is_heard_where_the_audio_before_it_ends() -> None:
    wire = Connector()
    wire.client.advance(800)
    wire.hear(SECOND)
    wire.hear(SECOND)
    heard = [(event.start, len(event.data)) for event in wire.events if isinstance(event, Heard)]
    assert heard == [(800, SECOND), (800 + SECOND, SECOND)]


def test_barge_in_ends_the_playback() -> None:
    wire = Connector()
    wire.hear(SECOND)
    assert [message["type"] for message in wire.barge_in()] == ["playback_completed"]
    assert [event for event in wire.events if isinstance(event, Stopped)] == [Stopped(0)]
    assert wire.barge_in() == []
    assert wire.types_after(0.9) == []


def test_an_event_without_barge_in_ends_nothing() -> None:
    wire = Connector()
    wire.hear(SECOND)
    turn = {"type": "bot_turn_response", "data": {"disposition": "match"}}
    assert wire.say(messages.Event((turn,))) == []
    assert wire.types_after(1.0) == ["playback_completed"]


def test_audio_that_is_too_long_or_ends_within_a_sample_is_an_error() -> None:
    wire = Connector()
    wire.client.receive_audio(bytes(64_001))
    assert_refused(wire, wire.take(), 413)
    stereo = Wire(OPENING, plays_audio=True)
    stereo.say(messages.Opened(media=OPENING.media[:1]))
    stereo.take()
    stereo.client.receive_audio(bytes(3))
    assert_refused(stereo, stereo.take(), 400)


def test_audio_in_a_session_without_audio_is_an_error() -> None:
    wire = Connector(has_audio=False)
    wire.client.receive_audio(bytes(80))
    assert_refused(wire, wire.take(), 415)


def test_audio_that_arrives_after_close_is_ignored() -> None:
    wire = Connector()
    wire.hear(SECOND)
    wire.client.close()
    assert wire.hear(80) == ["close"]
    assert wire.types_after(1.0) == []


def test_keys_are_pressed_while_the_session_is_open() -> None:
    wire = Connector()
    assert wire.client.dtmf("#")
    (message,) = wire.take()
    assert (message["type"], message["parameters"]) == ("dtmf", {"digit": "#"})
    wire.client.close()
    assert not wire.client.dtmf("1")
