"""Whole calls through one connection, with a wire that only listens and a clock that only moves when told."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from audiohookd.session.fanout import Watcher
from audiohookd.testing import START, CapturingSink, RaisingSink
from audiohookd.testing.client import ScriptedClient
from tests.session.connection_rig import ENTITY, FRAME, gone, opened, seen_types, without_messages
from tests.websocket.server_rig import Plugin, assert_tiles, watched_by

# ---- an ordinary call --------------------------------------------------------------------------------


def test_a_whole_call() -> None:
    sink = CapturingSink()
    client = opened(watched_by(sink))
    client.speak(FRAME)
    client.say("ping", {"rtt": "PT0.048S"})
    client.say("paused")
    client.say("resumed", {"start": "PT0.2S", "discarded": "PT1S"}, position="PT1.2S")
    client.speak(FRAME)
    client.say("update", {"language": "es-US"})
    client.close()
    client.leave()
    assert client.types == ["opened", "pong", "updated", "closed"]
    assert [call[0] for call in without_messages(sink)] == [
        "opened",
        "audio",
        "round_trip",
        "paused",
        "gap",
        "resumed",
        "audio",
        "language_changed",
        "closing",
        "closed",
    ]
    assert sink.calls[-1] == ("closed", "end")
    assert assert_tiles(sink, 0, 2) == 1_600 + 8_000 + 1_600
    assert gone(client)
    assert client.connection.finished.called


def test_observers_see_every_message_also_those_before_opened() -> None:
    sink = CapturingSink()
    client = opened(watched_by(sink))
    client.say("ping")
    client.close()
    assert sink.names[0] == "opened"
    assert seen_types(sink) == [">open", "<opened", ">ping", "<pong", ">close", "<closed"]
    assert sink.names[-1] == "closed"


def test_opened_is_on_the_wire_before_any_plugin_is_told() -> None:
    written: list[list[str]] = []
    client = ScriptedClient(watched_by(CapturingSink(lambda *_: written.append(client.types))))
    client.open()
    assert written[0] == ["opened"]


def test_pong_is_on_the_wire_before_any_plugin_is_told() -> None:
    written: list[tuple[str, list[str]]] = []
    client = ScriptedClient(watched_by(CapturingSink(lambda method, *_: written.append((method, client.types)))))
    client.open()
    written.clear()
    client.say("ping", {"rtt": "PT0.05S"})
    assert written[0] == ("message", ["opened", "pong"])
    assert ("round_trip", ["opened", "pong"]) in written


def test_a_plugin_that_hangs_delays_no_pong() -> None:
    client = opened(watched_by(CapturingSink(lambda *_: Deferred())))
    client.say("ping")
    client.speak(FRAME)
    client.say("ping")
    assert client.types == ["opened", "pong", "pong"]


def test_the_position_begins_where_open_says() -> None:
    sink = CapturingSink()
    plugin = Plugin(sink)
    client = ScriptedClient(Watcher("plugin", plugin))
    client.open(position="PT5S")
    client.say("discarded", {"start": "PT5S", "discarded": "PT2S"})
    (session,) = plugin.sessions
    assert session.start_position == 40_000
    assert session.position == 56_000
    assert assert_tiles(sink, 40_000, 2) == 56_000


def test_the_session_that_plugins_see() -> None:
    plugin = Plugin(CapturingSink())
    client = opened(Watcher("plugin", plugin))
    (session,) = plugin.sessions
    assert session.language == "en-US"
    client.say("update", {"language": "es-419"})
    assert session.language == "es-419"
    assert session.participant.ani == "+1-555-555-1234"
    assert session.media.channels == ("external", "internal")
    assert "x-api-key" not in session.request["headers"]
    assert session.started_at == START + client.clock.seconds()


def test_a_plugin_cannot_change_shared_attributes_of_a_session() -> None:
    plugin = Plugin(CapturingSink())
    client = ScriptedClient(Watcher("plugin", plugin))
    client.open(customConfig={"queue": "sales"}, inputVariables={"city": "Oslo"})
    (session,) = plugin.sessions
    for mapping in (session.custom_config, session.input_variables):
        with pytest.raises(TypeError, match="does not support item assignment"):
            mapping["mine"] = True
    assert session.custom_config == {"queue": "sales"}
    assert session.input_variables == {"city": "Oslo"}


# ---- plugins that act --------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["opened", "audio", "message", "round_trip", "closing"])
def test_a_plugin_may_act_while_it_is_being_told_something(when: str) -> None:
    def act(method: str, *arguments: Any) -> None:
        depth.append(method)
        assert len(depth) == 1, "told something while it was being told something"
        if method == when and not said:
            said.append(plugin.sessions[0].send_event([ENTITY]))
        depth.pop()

    depth: list[str] = []
    said: list[bool] = []
    sink = CapturingSink(act)
    plugin = Plugin(sink)
    client = opened(Watcher("plugin", plugin))
    client.say("ping", {"rtt": "PT0.05S"})
    client.speak(FRAME)
    client.close()
    assert said == [True]
    assert client.types.count("event") == 1
    assert client.types[-1] == "closed"
    assert "<event" in seen_types(sink)
    assert client.counters.value("plugin_failures", "plugin") == 0


def test_a_plugin_may_end_the_session_from_within_audio() -> None:
    def act(method: str, *_: Any) -> None:
        if method == "audio":
            plugin.sessions[0].disconnect("completed")

    sink = CapturingSink(act)
    plugin = Plugin(sink)
    client = opened(Watcher("plugin", plugin))
    client.speak(FRAME)
    assert client.types == ["opened", "disconnect"]
    client.speak(FRAME)
    client.close("disconnect")
    assert sink.names.count("audio") == 1
    assert sink.calls[-1] == ("closed", "disconnect")


def test_a_plugin_may_act_from_outside() -> None:
    plugin = Plugin(CapturingSink())
    client = opened(Watcher("plugin", plugin))
    (session,) = plugin.sessions
    assert session.pause()
    assert session.resume()
    assert session.send_event([ENTITY])
    assert client.types == ["opened", "pause", "resume", "event"]
    client.close()
    client.leave()
    assert not session.send_event([ENTITY])
    assert not session.disconnect()
    assert client.types[-1] == "closed"
    assert gone(client)


def test_the_failure_of_a_required_plugin_ends_the_session() -> None:
    recorder, other = RaisingSink("audio"), CapturingSink()
    client = opened(watched_by(recorder, "recorder", required=True), watched_by(other))
    client.speak(FRAME)
    assert client.wire.heard[-1]["parameters"] == {"reason": "error", "info": "a required service failed"}
    client.close("disconnect")
    client.leave()
    assert recorder.calls[-1] == other.calls[-1] == ("closed", "disconnect")
    assert gone(client)


def test_the_failure_of_any_other_plugin_does_not() -> None:
    client = opened(watched_by(RaisingSink("opened", "closed")), watched_by(RuntimeError("no")))
    client.speak(FRAME)
    client.close()
    client.leave()
    assert client.types == ["opened", "closed"]
    assert gone(client)
