"""The client's side of a session: how it opens, and what it refuses."""

import json
from typing import Any

import msgspec
import pytest

from audiohookd.protocol import events, messages
from audiohookd.protocol.client.checks import ServerProtocolError, offers, selected
from audiohookd.protocol.client.events import Accepted
from audiohookd.protocol.client.session import HISTORY
from audiohookd.protocol.media import Media
from tests.protocol.client_rig import OFFERED, OPENING, OTHER_ID, Wire, assert_refused, open_wire, opened, types


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

    def test_the_client_reports_the_supported_languages(self) -> None:
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

    def test_rejects_a_selection_that_is_no_json(self) -> None:
        with pytest.raises(ServerProtocolError, match="selected medium was not offered"):
            selected((msgspec.Raw(b'{"rate":'),), OPENING.media)

    def test_skips_history_at_the_servers_wish_before_it_is_paused(self) -> None:
        wire = Wire()
        answer = wire.say(opened(discard_to="PT2.5S", start_paused=True))
        assert types(answer) == ["discarded", "paused"]
        assert answer[0]["parameters"] == {"start": "PT0S", "discarded": "PT2.5S"}
        assert answer[1]["position"] == "PT2.5S"

    def test_skips_no_more_than_there_is_history(self) -> None:
        wire = open_wire(discard_to="PT9999999S")
        assert wire.client.position == HISTORY

    def test_skips_nothing_to_a_position_that_has_passed(self) -> None:
        wire = open_wire(discard_to="PT0S")
        assert types(wire.sent) == ["open"]

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

    def test_the_client_rejects_audio(self) -> None:
        wire = open_wire()
        wire.client.receive_audio(b"\xff" * 160)
        assert_refused(wire, wire.take(), 415)

    def test_the_client_ignores_audio_after_the_end(self) -> None:
        wire = open_wire()
        wire.client.connection_lost()
        wire.client.receive_audio(b"\xff" * 160)
        assert wire.take() == []
        assert wire.told(events.Fault) == []

    def test_complains_once_and_still_takes_closed(self) -> None:
        wire = open_wire()
        wire.say_raw(b"no JSON")
        assert wire.say_raw(b"nor this") == []
        wire.say(messages.Closed(), seq=77)
        assert wire.client.finished
        assert len(wire.told(events.Fault)) == 1


class TestUnexpected:
    @pytest.mark.parametrize("parameters", [messages.Pong(), messages.Pause(), messages.Closed(), messages.Updated()])
    def test_a_message_before_opened_is_an_error(self, parameters: messages.Parameters) -> None:
        wire = Wire()
        assert_refused(wire, wire.say(parameters), 409)

    @pytest.mark.parametrize("parameters", [messages.Pong(), opened(), messages.Closed(), messages.Updated()])
    def test_an_answer_without_a_request_is_an_error(self, parameters: messages.Parameters) -> None:
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


def test_a_selected_medium_is_used_as_media() -> None:
    assert isinstance(open_wire().client.media, Media)
