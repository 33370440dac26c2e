"""Calls that are no ordinary ones: probes, one too many, strangers."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, eventAsText, formatEvent

from audiohookd.session.driver import EARLY_LIMIT
from audiohookd.session.fanout import Watcher
from audiohookd.session.registry import Registry
from audiohookd.testing import PATH, SESSION_ID, CapturingSink
from audiohookd.testing.client import ScriptedClient
from tests.session.connection_rig import FRAME, PROBE, gone, opened, seen_types
from tests.websocket.server_rig import CountedBytes, Plugin, admitted_by, watched_by


def test_a_probe_reaches_no_plugin() -> None:
    sink = CapturingSink()
    plugin = Plugin(sink)
    client = ScriptedClient(Watcher("plugin", plugin))
    client.open(**PROBE)
    client.say("ping")
    client.close()
    client.leave()
    assert client.types == ["opened", "pong", "closed"]
    assert plugin.sessions == sink.calls == []
    assert (client.counters.value("probes"), client.counters.value("sessions")) == (1, 0)
    assert gone(client)


def test_a_probe_is_answered_though_all_places_are_taken() -> None:
    clock = Clock()
    registry = Registry(clock, max_sessions=1, drain_timeout=60.0)
    opened(clock=clock, registry=registry)
    probe = ScriptedClient(clock=clock, registry=registry)
    probe.open(**PROBE)
    assert probe.types == ["opened"]


def test_one_session_too_many_is_told_so_in_the_session(logged: list[LogEvent]) -> None:
    clock = Clock()
    registry = Registry(clock, max_sessions=1, drain_timeout=60.0)
    sink = CapturingSink()
    first = opened(clock=clock, registry=registry)
    second = opened(watched_by(sink), clock=clock, registry=registry)
    assert second.wire.heard[0]["parameters"] == {"reason": "error", "info": "too many sessions"}
    (line,) = [text for event in logged if "session rejected" in (text := eventAsText(event))]
    assert line.endswith(f"{SESSION_ID} session rejected: too many sessions: listen.max_sessions is 1")
    assert sink.calls == []
    second.close("disconnect")
    second.leave()
    first.leave()
    third = opened(clock=clock, registry=registry)
    assert third.types == ["opened"]


def test_while_draining_a_new_session_is_told_so_in_the_session() -> None:
    client = ScriptedClient()
    client.registry.start_draining()
    client.open()
    assert client.wire.heard[0]["parameters"] == {"reason": "error", "info": "server is shutting down"}


def test_an_unauthenticated_client_gets_only_a_disconnect() -> None:
    plugin = Plugin(CapturingSink())
    client = ScriptedClient(Watcher("plugin", plugin), authentic=False)
    assert client.wire.heard[0]["parameters"] == {"reason": "unauthorized"}
    assert (client.wire.heard[0]["seq"], client.wire.heard[0]["clientseq"]) == (1, 0)
    client.open()
    client.speak(FRAME)
    client.close("disconnect")
    client.leave()
    assert client.types == ["disconnect", "closed"]
    assert plugin.sessions == []
    assert gone(client)


def test_nothing_is_kept_of_what_strangers_say() -> None:
    client = ScriptedClient(authentic=False)
    for seq in range(1, EARLY_LIMIT):
        envelope = {"version": "2", "id": SESSION_ID, "type": "ping", "seq": seq, "serverseq": 0, "position": "PT0S"}
        message = envelope | {"parameters": {}, "padding": "x" * 60_000}
        client.connection.text(CountedBytes(json.dumps(message).encode()))
    assert client.types == ["disconnect", *["pong"] * (EARLY_LIMIT - 1)]
    assert CountedBytes.alive == 0


def test_before_opened_only_so_many_messages_are_kept() -> None:
    sink = CapturingSink()
    asked: Deferred[None] = Deferred()
    client = opened(admitted_by(lambda _: asked, sink))
    for _ in range(EARLY_LIMIT):
        client.say("ping")
    asked.callback(None)
    assert len(seen_types(sink)) == EARLY_LIMIT
    assert seen_types(sink)[:3] == [">open", ">ping", "<pong"]


# ---- the rates of what is sent -----------------------------------------------------------------------


def numbered(*numbers: int) -> Any:
    """Entities that the daemon does not know."""
    return [{"type": "n", "data": number} for number in numbers]


def test_results_above_the_rate_are_sent_later_and_merged() -> None:
    plugin = Plugin(CapturingSink())
    client = opened(Watcher("talker", plugin))
    for number in range(27):
        assert plugin.sessions[0].send_event(numbered(number))
    assert client.types.count("event") == 24
    client.clock.pump([0.1] * 2)
    assert client.types.count("event") == 25
    assert [entity["data"] for entity in client.wire.heard[-1]["parameters"]["entities"]] == [24, 25, 26]


def test_results_that_are_sent_while_audio_is_heard_do_not_wait_for_the_next_message() -> None:
    def act(method: str, *_: object) -> None:
        if method == "audio":
            plugin.sessions[0].send_event(numbered(1))

    plugin = Plugin(CapturingSink(act))
    client = opened(Watcher("talker", plugin))
    for _ in range(26):
        client.speak(FRAME)
    assert client.types.count("event") == 24
    client.clock.advance(0.4)
    assert client.types.count("event") == 25


def test_a_plugin_learns_which_results_were_not_sent(logged: list[LogEvent]) -> None:
    sink, other = CapturingSink(), CapturingSink()
    plugin = Plugin(sink)
    client = opened(Watcher("talker", plugin), Watcher("other", Plugin(other)))
    client.say("error", {"code": 429, "message": "slow", "retryAfter": "PT60S"})
    first, second = numbered(1), numbered(2, 3)
    assert plugin.sessions[0].send_event(first)
    assert plugin.sessions[0].send_event(second)
    client.leave()
    assert sink.arguments("events_dropped") == [tuple(first), tuple(second)]
    assert sink.names[-1] == "closed"
    assert other.arguments("events_dropped") == []
    assert client.counters.value("unsent_entities", "talker") == 3
    assert sum("results of plugin talker were not sent" in str(formatEvent(event)) for event in logged) == 1


def test_audio_in_a_reported_pause_is_an_alarm_and_reaches_no_sink(logged: list[LogEvent]) -> None:
    sink = CapturingSink()
    client = opened(Watcher("recorder", Plugin(sink)))
    client.say("paused")
    for _ in range(3):
        client.speak(FRAME)
    assert "audio" not in sink.names
    assert sink.names.count("audio_while_paused") == 3
    assert client.counters.value("audio_while_paused_bytes") == 3 * len(FRAME)
    lines = [str(formatEvent(event)) for event in logged]
    assert sum("the client sends audio although it reported a pause" in line for line in lines) == 1


# ---- the operator ------------------------------------------------------------------------------------


def test_a_pause_of_the_operator_is_not_ended_by_a_plugin() -> None:
    plugin = Plugin(CapturingSink())
    client = opened(Watcher("talker", plugin))
    assert client.connection.hold_pause(True)
    assert client.types[-1] == "pause"
    assert client.connection.describe()["pausedByOperator"] is True
    assert not plugin.sessions[0].resume()
    assert client.types[-1] == "pause"
    assert client.connection.hold_pause(False)
    assert client.types[-1] == "resume"
    assert plugin.sessions[0].pause()
    assert plugin.sessions[0].resume()


def test_a_session_is_described_without_personal_data() -> None:
    client = opened(Watcher("talker", Plugin(CapturingSink())))
    client.speak(bytes(16_000))
    client.say("paused")
    described = client.connection.describe()
    assert (described["session"], described["route"], described["seconds"]) == (SESSION_ID, PATH, 1.0)
    assert (described["media"], described["paused"]) == ("PCMU external+internal", True)
    assert "+1-555-555-1234" not in json.dumps(described)


def test_a_session_that_has_ended_is_not_paused() -> None:
    client = opened()
    client.close()
    assert not client.connection.hold_pause(True)
