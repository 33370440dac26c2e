"""Whole calls through one connection, with a wire that only listens and a clock that only moves when told."""

import gc
import json
import weakref
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from server_rig import CountedBytes, CountingClock, Plugin, admitted_by, assert_tiles, watched_by
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent

from audiohookd.interfaces import IOpening
from audiohookd.protocol.timers import Timers
from audiohookd.server.connection import EARLY_LIMIT, FINISH_TIME
from audiohookd.server.dispatch import Watcher
from audiohookd.server.registry import Registry
from audiohookd.testing import SESSION_ID, CapturingSink, RaisingSink, ScriptedClient, clock_at_start

FRAME = b"\xff" * 3_200
PROBE = {"conversationId": "00000000-0000-0000-0000-000000000000"}
#: An event that any product would ignore.
ENTITY = {"type": "note", "data": {"text": "hello"}}


def opened(*watchers: Watcher, **options: Any) -> ScriptedClient:
    client = ScriptedClient(*watchers, **options)
    client.open()
    return client


def seen_types(sink: CapturingSink) -> list[str]:
    """The protocol messages that an observer was shown: ``>`` from the client, ``<`` to it."""
    return [("<" if call[1] else ">") + _type(call[2]) for call in sink.calls if call[0] == "message"]


def _type(data: bytes) -> str:
    return str(json.loads(data)["type"])


def without_messages(sink: CapturingSink) -> list[tuple[Any, ...]]:
    return [call for call in sink.calls if call[0] != "message"]


def gone(client: ScriptedClient) -> bool:
    """Nothing is left of the call: no timer, no place in the registry."""
    return client.clock.getDelayedCalls() == [] and not list(client.registry) and not len(client.registry)


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
    assert session.started_at == client.clock.seconds()


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


# ---- the end -----------------------------------------------------------------------------------------


def test_closed_waits_for_the_last_words_of_all() -> None:
    last_word: Deferred[None] = Deferred()
    sink = CapturingSink(lambda method, *_: last_word if method == "closing" else None)
    plugin = Plugin(sink)
    client = opened(Watcher("slow", plugin), watched_by(CapturingSink()))
    client.close()
    assert client.types == ["opened"]
    assert plugin.sessions[0].send_event([ENTITY])
    last_word.callback(None)
    assert client.types == ["opened", "event", "closed"]
    assert sink.calls[-1] == ("closed", "end")


def test_closed_does_not_wait_longer_than_closing_timeout() -> None:
    sink = CapturingSink(lambda method, *_: Deferred() if method == "closing" else None)
    client = opened(watched_by(sink), timers=Timers(closing_timeout=8.0))
    client.close()
    client.clock.advance(7.9)
    assert client.types == ["opened"]
    client.clock.advance(0.1)
    assert client.types == ["opened", "closed"]


def test_a_lost_connection() -> None:
    sink = CapturingSink()
    client = opened(watched_by(sink))
    client.speak(FRAME)
    client.leave()
    client.leave()
    assert sink.calls[-1] == ("closed", "connection-lost")
    assert "closing" not in sink.names
    assert client.counters.value("endings", "connection-lost") == 1
    assert gone(client)


def test_a_connection_lost_before_open() -> None:
    client = ScriptedClient(watched_by(CapturingSink()))
    client.leave()
    assert gone(client)


def test_the_reason_of_the_client_is_kept_and_counted_if_it_is_known() -> None:
    sink = CapturingSink()
    client = opened(watched_by(sink))
    client.close("bored")
    assert sink.calls[-1] == ("closed", "bored")
    assert client.counters.value("endings", "other") == 1


def test_who_hangs_after_the_end_is_hurried_and_then_abandoned() -> None:
    sink = CapturingSink(lambda method, *_: Deferred() if method in ("audio", "closed") else None)
    client = opened(watched_by(sink, "hanging"))
    client.speak(FRAME)
    client.leave()
    assert sink.names[-1] == "audio"
    assert len(client.registry) == 1
    client.clock.advance(FINISH_TIME)
    assert sink.calls[-1] == ("closed", "connection-lost")
    assert not client.connection.finished.called
    client.clock.advance(FINISH_TIME)
    assert client.connection.finished.called
    assert client.counters.value("plugin_failures", "hanging") == 1
    assert gone(client)


def test_finished_waits_for_the_plugins_and_for_the_end_of_the_connection() -> None:
    recording: Deferred[None] = Deferred()
    client = opened(watched_by(CapturingSink(lambda method, *_: recording if method == "closed" else None)))
    client.close()
    client.leave()
    assert not client.connection.finished.called
    recording.callback(None)
    assert client.connection.finished.called
    assert gone(client)

    client = opened(watched_by(CapturingSink()))
    client.close()
    assert not client.connection.finished.called
    client.leave()
    assert client.connection.finished.called


def test_a_client_that_never_leaves_is_shown_out() -> None:
    client = opened(timers=Timers(closed_timeout=5.0))
    client.close()
    client.clock.advance(5.0)
    assert client.wire.ends == ["close"]
    client.leave()
    assert gone(client)


def test_a_silent_client_is_asked_to_close_and_then_shown_out() -> None:
    sink = CapturingSink()
    client = opened(watched_by(sink), timers=Timers(idle_timeout=20.0, idle_grace=5.0))
    client.clock.pump([5.0] * 4)
    assert client.types == ["opened", "disconnect"]
    client.clock.advance(5.0)
    assert client.wire.ends == ["close"]
    client.leave()
    assert sink.calls[-1] == ("closed", "connection-lost")


def test_a_client_that_does_not_open_is_asked_to_close() -> None:
    client = ScriptedClient(timers=Timers(open_timeout=10.0))
    client.clock.advance(10.0)
    assert client.types == ["disconnect"]
    client.close("disconnect")
    assert client.types == ["disconnect", "closed"]


def test_a_closed_call_keeps_none_of_its_observers_alive() -> None:
    class Recorder(CapturingSink):
        pass

    gc.collect()
    gc.disable()
    try:
        plugin = Plugin(Recorder())
        client = opened(Watcher("recorder", plugin))
        sink, session = weakref.ref(plugin.observer), weakref.ref(plugin.sessions[0])
        client.speak(FRAME)
        client.close()
        client.leave()
        plugin.observer = None
        plugin.sessions.clear()
        assert sink() is None
        assert session() is None
    finally:
        gc.enable()


def test_a_refused_call_keeps_nothing_alive_either() -> None:
    def refuse(opening: IOpening) -> None:
        sessions.append(weakref.ref(opening.session))
        opening.refuse("no")

    sessions: list[weakref.ref[Any]] = []
    gc.collect()
    gc.disable()
    try:
        client = opened(admitted_by(refuse))
        client.leave()
        assert [session() for session in sessions] == [None]
    finally:
        gc.enable()


# ---- special calls -----------------------------------------------------------------------------------


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
    clock = clock_at_start()
    registry = Registry(clock, max_sessions=1, drain_timeout=60.0)
    opened(clock=clock, registry=registry)
    probe = ScriptedClient(clock=clock, registry=registry)
    probe.open(**PROBE)
    assert probe.types == ["opened"]


def test_one_session_too_many_is_told_so_in_the_session() -> None:
    clock = clock_at_start()
    registry = Registry(clock, max_sessions=1, drain_timeout=60.0)
    sink = CapturingSink()
    first = opened(clock=clock, registry=registry)
    second = opened(watched_by(sink), clock=clock, registry=registry)
    assert second.wire.heard[0]["parameters"] == {"reason": "error", "info": "too many sessions"}
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


def test_who_is_not_authentic_is_told_so_and_nothing_else() -> None:
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


# ---- what goes wrong ---------------------------------------------------------------------------------


def test_a_client_that_breaks_the_protocol_is_disconnected_and_still_gets_its_closed() -> None:
    sink = CapturingSink()
    client = opened(watched_by(sink))
    client.say("ping", seq=7)
    assert client.wire.heard[-1]["parameters"]["reason"] == "error"
    client.say("close", {"reason": "disconnect"}, seq=8)
    assert client.types == ["opened", "disconnect", "closed"]
    assert client.counters.value("faults") == 1
    assert sink.calls[-1] == ("closed", "disconnect")


def test_odd_things_are_counted_each_time_and_logged_once(logged: list[LogEvent]) -> None:
    client = opened()
    for _ in range(3):
        client.say("invented")
    assert client.counters.value("tolerated", "unknown-type") == 3
    lines = [formatEvent(event) for event in logged]
    assert sum("odd, but harmless: unknown-type" in line for line in lines) == 1


def test_what_the_client_complains_about_is_logged(logged: list[LogEvent]) -> None:
    client = opened()
    client.say("error", {"code": 429, "message": "Rate limit exceeded", "retryAfter": "PT3S"})
    assert client.counters.value("peer_errors") == 1
    assert any("429" in formatEvent(event) for event in logged)


def test_each_line_names_the_session(logged: list[LogEvent]) -> None:
    plugin = Plugin(CapturingSink())
    opened(Watcher("plugin", plugin))
    (session,) = plugin.sessions
    session.log.info("said {what} in {session}", what="a word", session="another one")
    assert formatEvent(logged[-1]) == f"{session.id} said a word in {session.id}"
    assert logged[-1]["organization"] == session.organization_id


def test_an_error_of_our_own_ends_the_session_and_no_timer_remains() -> None:
    client = opened(watched_by(sink := CapturingSink()))
    client.connection.fail()
    assert client.wire.heard[-1]["parameters"] == {"reason": "error", "info": "internal error"}
    client.close("disconnect")
    client.leave()
    assert sink.calls[-1] == ("closed", "disconnect")
    assert gone(client)


def test_an_error_while_something_is_delivered_does_not_stop_the_connection(logged: list[LogEvent]) -> None:
    class Broken(Registry):
        def admit(self, connection: Any) -> str | None:
            raise ZeroDivisionError

    clock = clock_at_start()
    client = opened(clock=clock, registry=Broken(clock, 1, 60.0))
    assert client.wire.heard[-1]["parameters"] == {"reason": "error", "info": "internal error"}
    assert any("log_failure" in event for event in logged)
    client.close("disconnect")
    client.leave()
    assert client.types == ["disconnect", "closed"]
    assert gone(client)


def test_a_wire_that_is_lost_while_it_is_written_to() -> None:
    class Fragile(ScriptedClient):
        def break_at(self, message: str) -> None:
            def send(data: bytes) -> None:
                keep(data)
                if _type(data) == message:
                    self.leave()

            keep = self.wire.send
            self.wire.send = send  # type: ignore[method-assign]

    sink = CapturingSink()
    client = Fragile(watched_by(sink))
    client.break_at("opened")
    client.open()
    assert without_messages(sink) == [("opened",), ("closed", "connection-lost")]
    assert gone(client)


# ---- the daemon ends ---------------------------------------------------------------------------------


def test_shut_down_asks_the_client_to_close() -> None:
    client = opened(watched_by(sink := CapturingSink()))
    client.connection.shut_down()
    assert client.wire.heard[-1]["parameters"] == {"reason": "error", "info": "server is shutting down"}
    client.close("disconnect")
    client.leave()
    assert sink.calls[-1] == ("closed", "disconnect")


def test_abort_ends_it_now_and_waits_only_for_closed() -> None:
    recording: Deferred[None] = Deferred()
    sink = CapturingSink(lambda method, *_: {"audio": Deferred(), "closed": recording}.get(method))
    client = opened(watched_by(sink))
    client.speak(FRAME)
    client.connection.abort()
    assert client.wire.ends == ["abort"]
    assert sink.calls[-1] == ("closed", "connection-lost")
    client.leave()
    assert not client.connection.finished.called
    recording.callback(None)
    assert gone(client)


def test_abort_before_open() -> None:
    client = ScriptedClient()
    client.connection.abort()
    assert client.wire.ends == ["abort"]
    assert gone(client)


# ---- timers ------------------------------------------------------------------------------------------


def test_timers_are_not_armed_for_each_message() -> None:
    clock = CountingClock()
    client = opened(watched_by(CapturingSink()), clock=clock)
    armed = clock.armed
    for _ in range(100):
        client.say("ping")
        client.speak(FRAME)
    assert clock.armed == armed
    assert len(clock.getDelayedCalls()) == 1


def test_a_long_call_arms_one_timer_each_idle_timeout() -> None:
    clock = CountingClock()
    client = opened(clock=clock, timers=Timers(idle_timeout=20.0))
    armed = clock.armed
    for _ in range(240):  # 20 minutes
        clock.advance(5.0)
        client.say("ping")
    assert clock.armed - armed <= 1200 / 15
    assert client.types.count("pong") == 240


class Caller(ScriptedClient):
    """A client that takes its steps by name, and an observer that is done when the test says so."""

    def __init__(self, answers: list[str]) -> None:
        self.sink = CapturingSink(self._act)
        self._answers = answers
        self._pending: list[Deferred[None]] = []
        super().__init__(watched_by(self.sink))

    def step(self, name: str) -> None:
        if hasattr(self, name):
            getattr(self, name)()
        else:
            self.say(name, {"start": "PT1S", "discarded": "PT1S", "language": "en-US", "digit": "1"})

    def frame(self) -> None:
        self.speak(FRAME)

    def wait(self) -> None:
        self.clock.advance(3.0)

    def nonsense(self) -> None:
        self.connection.text(b"{}")

    def fire(self) -> None:
        """The observer is done with what it was told, and so on until it has nothing to do."""
        while self._pending:
            self._pending.pop().callback(None)

    def _act(self, *_: Any) -> "Deferred[None] | None":
        assert not self._pending, "called while it was busy"
        if self._answers[len(self.sink.calls) % len(self._answers)] == "done":
            return None
        self._pending.append(Deferred())
        return self._pending[-1]


STEPS = st.sampled_from(
    ["open", "frame", "ping", "paused", "resumed", "discarded", "update", "dtmf", "nonsense", "wait", "fire", "close"]
)


@given(st.lists(STEPS, max_size=30), st.lists(st.sampled_from(["done", "later"]), min_size=1), st.booleans())
@example(["close", "fire"], ["later"], True)
def test_whatever_the_client_does_every_call_ends_cleanly(steps: list[str], answers: list[str], opens: bool) -> None:
    client = Caller(answers)
    for step in ["open", *steps] if opens else steps:
        client.step(step)
    client.leave()
    client.fire()
    assert gone(client)
    assert client.connection.finished.called
    assert client.counters.value("plugin_failures", "plugin") == 0
    assert_tiles(client.sink, 0, 2)
    assert not client.sink.calls or (client.sink.names[0], client.sink.names[-1]) == ("opened", "closed")
    assert client.sink.names.count("closed") == client.sink.names.count("opened") == client.counters.value("sessions")
    seqs = [message["seq"] for message in client.wire.heard]
    assert seqs == list(range(1, len(seqs) + 1))
