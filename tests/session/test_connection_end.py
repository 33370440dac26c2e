"""How a call ends, on the wire and for its plugins, and that nothing is left of it."""

import gc
import weakref
from typing import Any

from twisted.internet.defer import Deferred

from audiohookd.interfaces import IOpening
from audiohookd.protocol.timeouts import Timeouts
from audiohookd.session.driver import FINISH_TIME
from audiohookd.session.fanout import Watcher
from audiohookd.testing import CapturingSink
from audiohookd.testing.client import ScriptedClient
from tests.session.connection_rig import ENTITY, FRAME, gone, opened
from tests.websocket.server_rig import Plugin, admitted_by, watched_by


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
    client = opened(watched_by(sink), timers=Timeouts(plugin_closing_timeout=8.0))
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
    assert client.counters.value("sessions_closed", "connection-lost") == 1
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
    assert client.counters.value("sessions_closed", "other") == 1


def test_an_observer_that_hangs_after_the_end_is_closed_and_then_abandoned() -> None:
    sink = CapturingSink(lambda method, *_: Deferred() if method in ("audio", "closed") else None)
    client = opened(watched_by(sink, "hanging"))
    client.speak(FRAME)
    client.leave()
    assert sink.names[-1] == "audio"
    assert (len(client.registry), len(list(client.registry))) == (0, 1)
    client.clock.advance(FINISH_TIME)
    assert sink.calls[-1] == ("closed", "connection-lost")
    assert not client.connection.finished.called
    client.clock.advance(FINISH_TIME)
    assert client.connection.finished.called
    assert client.counters.value("callback_timeouts", "hanging") == 2
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
    client = opened(timers=Timeouts(client_close_timeout=5.0))
    client.close()
    client.clock.advance(5.0)
    assert client.wire.ends == ["close"]
    client.leave()
    assert gone(client)


def test_a_silent_client_is_asked_to_close_and_then_shown_out() -> None:
    sink = CapturingSink()
    client = opened(watched_by(sink), timers=Timeouts(idle_timeout=20.0, idle_grace=5.0))
    client.clock.pump([5.0] * 4)
    assert client.types == ["opened", "disconnect"]
    client.clock.advance(5.0)
    assert client.wire.ends == ["close"]
    client.leave()
    assert sink.calls[-1] == ("closed", "connection-lost")


def test_a_client_that_does_not_open_is_asked_to_close() -> None:
    client = ScriptedClient(timers=Timeouts(client_open_timeout=10.0))
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
        opening.reject("no")

    sessions: list[weakref.ref[Any]] = []
    gc.collect()
    gc.disable()
    try:
        client = opened(admitted_by(refuse))
        client.leave()
        assert [session() for session in sessions] == [None]
    finally:
        gc.enable()
