"""Plugins that raise, hang and flood in one call: what it costs the others of that call, and the calls after it."""

import asyncio
import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent

from audiohookd.interfaces import IOpening
from audiohookd.protocol.timeouts import Timeouts
from audiohookd.session.driver import FINISH_TIME
from audiohookd.session.fanout import Watcher
from audiohookd.session.observer_queue import CALL_LIMIT
from audiohookd.session.registry import Registry
from audiohookd.testing import CapturingSink
from audiohookd.testing.client import ScriptedClient
from tests.session.connection_rig import ENTITY, FRAME, gone, opened, seen_types
from tests.websocket.server_rig import Plugin, admitted_by, watched_by

FAULTS: dict[str, Callable[[], BaseException]] = {
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
}
CALLBACKS = ["opened", "message", "round_trip", "audio", "gap", "paused", "closing", "closed"]


def failing(at: str, act: Callable[[], Any]) -> CapturingSink:
    return CapturingSink(lambda method, *_: act() if method == at else None)


def whole_call(client: ScriptedClient) -> None:
    client.speak(FRAME)
    client.say("ping", {"rtt": "PT0.1S"})
    client.say("paused")
    client.say("resumed", {"start": "PT0.2S", "discarded": "PT1S"})
    client.close()
    client.leave()


def raise_(fault: BaseException) -> None:
    raise fault


async def fail_later(fault: BaseException) -> None:
    raise fault


def lines_of(logged: list[LogEvent], plugin: str) -> list[str]:
    return [str(formatEvent(event)) for event in logged if event.get("plugin") == plugin]


@pytest.mark.parametrize("how", ["raise", "coroutine", "deferred"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("at", CALLBACKS)
def test_an_observer_that_raises_beyond_exception_loses_only_its_own_view(
    at: str, fault: str, how: str, logged: list[LogEvent]
) -> None:
    acts: dict[str, Callable[[], Any]] = {
        "raise": lambda: raise_(FAULTS[fault]()),
        "coroutine": lambda: fail_later(FAULTS[fault]()),
        "deferred": lambda: fail(FAULTS[fault]()),
    }
    evil, fine = failing(at, acts[how]), CapturingSink()
    client = opened(watched_by(evil, "evil"), watched_by(fine, "fine"))
    whole_call(client)
    assert evil.names[-1] == fine.names[-1] == "closed"
    assert set(CALLBACKS) <= set(fine.names)
    assert client.counters.value("plugin_failures", "evil") == 1
    assert client.counters.value("internal_errors") == 0
    assert f"plugin evil failed in {at}; " in lines_of(logged, "evil")[0]
    assert gone(client)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_plugin_that_raises_beyond_exception_in_observe_does_not_watch(fault: str) -> None:
    class Evil(Plugin):
        def observe(self, session: Any) -> Any:
            raise FAULTS[fault]()

    fine = CapturingSink()
    client = opened(Watcher("evil", Evil()), watched_by(fine))
    whole_call(client)
    assert fine.names[-1] == "closed"
    assert client.counters.value("plugin_failures", "evil") == 1


@pytest.mark.parametrize("how", [raise_, fail_later, fail])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_plugin_that_raises_beyond_exception_in_admit_has_no_say(fault: str, how: Callable[..., Any]) -> None:
    asked: list[IOpening] = []
    client = opened(admitted_by(lambda _: how(FAULTS[fault]()), name="evil"), admitted_by(asked.append))
    assert client.types == ["opened"]
    assert len(asked) == 1
    assert client.counters.value("plugin_failures", "evil") == 1


def test_a_canceller_that_raises_does_not_keep_the_call() -> None:
    stubborn: Callable[[], Any] = lambda: Deferred(lambda _: raise_(SystemExit(1)))  # noqa: E731
    client = opened(admitted_by(lambda _: stubborn(), failing("opened", stubborn), "evil"))
    client.clock.advance(3.0)
    assert client.types == ["opened"]
    client.leave()
    client.clock.advance(FINISH_TIME)
    assert gone(client)


@pytest.mark.parametrize("at", ["opened", "closing", "closed"])
def test_a_call_that_ended_has_no_place_while_a_plugin_hangs(at: str, logged: list[LogEvent]) -> None:
    clock = Clock()
    registry = Registry(clock, max_sessions=1, drain_timeout=60.0)
    cancelled: list[object] = []
    evil = failing(at, lambda: Deferred(cancelled.append))
    first = opened(watched_by(evil, "evil"), clock=clock, registry=registry)
    first.close()
    clock.advance(8.0)  # the longest that `closed` waits for `closing`
    first.leave()
    assert not first.connection.finished.called
    second = opened(clock=clock, registry=registry)
    assert second.types == ["opened"]
    clock.advance(FINISH_TIME)
    clock.advance(FINISH_TIME)
    assert first.connection.finished.called
    assert len(cancelled) == first.counters.value("callback_timeouts", "evil") == 1
    assert f"plugin evil failed: {at} timed out and was cancelled" in lines_of(logged, "evil")[0]
    assert evil.names[-1] == "closed"


def test_a_required_plugin_that_does_not_answer_in_time_ends_the_session(logged: list[LogEvent]) -> None:
    client = opened(
        admitted_by(lambda _: Deferred(), name="recorder", required=True), timers=Timeouts(admission_timeout=2.0)
    )
    client.clock.advance(1.9)
    assert client.types == []
    client.clock.advance(0.1)
    assert [(message["type"], message["parameters"]) for message in client.wire.heard] == [
        ("disconnect", {"reason": "error", "info": "a required service failed"})
    ]
    assert client.counters.value("required_failures", "recorder") == 1
    assert client.counters.value("callback_timeouts", "recorder") == 1
    assert client.counters.value("admission_timeouts") == 0
    assert any(event["log_level"] is LogLevel.error for event in logged if event.get("plugin") == "recorder")


def test_a_required_plugin_that_was_not_asked_in_time_ends_the_session() -> None:
    asked: list[IOpening] = []
    client = opened(
        admitted_by(lambda _: Deferred(), name="slow"), admitted_by(asked.append, name="licence", required=True)
    )
    client.clock.advance(3.0)
    assert client.types == ["disconnect"]
    assert client.counters.value("required_failures", "licence") == 1
    assert client.counters.value("callback_timeouts", "slow") == 1


@pytest.mark.parametrize("required", [True, False])
def test_a_required_plugin_that_hangs_in_opened_ends_the_session(required: bool) -> None:
    evil = failing("opened", Deferred)
    client = opened(watched_by(evil, "evil", required), timers=Timeouts(admission_timeout=2.0))
    client.clock.advance(1.9)
    assert client.types == ["opened"]
    client.clock.advance(0.1)
    assert client.types == ["opened", "disconnect"] if required else ["opened"]
    assert client.counters.value("required_failures", "evil") == required
    client.close("disconnect")
    client.leave()
    client.clock.advance(FINISH_TIME)
    assert evil.names[-1] == "closed"
    assert gone(client)


def test_a_required_plugin_that_is_done_with_opened_in_time_keeps_the_session() -> None:
    done: Deferred[None] = Deferred()
    client = opened(watched_by(failing("opened", lambda: done), required=True))
    done.callback(None)
    client.clock.advance(10.0)
    assert client.types == ["opened"]


def test_a_required_plugin_that_loses_audio_ends_the_session() -> None:
    client = opened(watched_by(failing("audio", Deferred), "recorder", required=True))
    for _ in range(100):
        client.speak(FRAME)
    assert client.types == ["opened", "disconnect"]


def test_a_plugin_that_floods_is_limited_and_cuts_off_no_other(logged: list[LogEvent]) -> None:
    sent: list[bool] = []
    plugin = Plugin(CapturingSink())
    recorder = failing("audio", Deferred)
    client = opened(Watcher("evil", plugin), watched_by(recorder, "recorder"))
    (session,) = plugin.sessions
    client.speak(FRAME)  # the recorder is busy from now on
    sent = [session.send_event([ENTITY]) for _ in range(3 * CALL_LIMIT)]
    sent += [flag for _ in range(CALL_LIMIT) for flag in (session.pause(), session.resume())]
    assert 0 < sum(sent) < 200
    assert client.counters.value("rate_limited_sends", "evil") == len(sent) - sum(sent)
    assert client.counters.value("plugin_failures", "recorder") == 0
    assert len(lines_of(logged, "evil")) == 1
    client.clock.advance(1.0)
    assert session.send_event([ENTITY]) is True


def test_a_recorder_that_is_busy_for_long_is_not_cut_off_by_what_is_sent() -> None:
    plugin = Plugin(CapturingSink())
    waiting: Deferred[None] = Deferred()
    recorder = failing("audio", lambda: waiting)
    recorder_plugin = Plugin(recorder)
    client = opened(Watcher("talker", plugin), Watcher("recorder", recorder_plugin))
    (session,) = plugin.sessions
    client.speak(FRAME)
    for _ in range(150):
        client.clock.advance(1.0)
        client.say("ping")
        for _ in range(20):
            session.send_event([ENTITY])
    missed = client.counters.value("overflow_messages", "recorder")
    assert missed > 0
    assert session.missed_messages == 0  # that is the talker's
    assert recorder_plugin.sessions[0].missed_messages == missed
    waiting.callback(None)
    assert client.counters.value("plugin_failures", "recorder") == 0
    assert seen_types(recorder).count(">ping") == 150


def test_the_limit_of_one_plugin_is_not_that_of_another() -> None:
    first, second = Plugin(CapturingSink()), Plugin(CapturingSink())
    opened(Watcher("evil", first), Watcher("fine", second))
    for _ in range(1_000):
        first.sessions[0].send_event([ENTITY])
    assert second.sessions[0].send_event([ENTITY]) is True


def test_a_pause_can_be_ended_whatever_else_the_plugin_sends() -> None:
    plugin = Plugin(CapturingSink())
    opened(Watcher("evil", plugin))
    (session,) = plugin.sessions
    for _ in range(1_000):
        session.send_event([ENTITY])
        session.resume()
    assert session.pause() is True
    assert session.resume() is True
    assert session.resume() is False


def test_attributes_that_a_plugin_assigns_are_not_seen_by_others() -> None:
    first, second = Plugin(CapturingSink()), Plugin(CapturingSink())
    client = opened(Watcher("evil", first), Watcher("fine", second))
    evil, fine = first.sessions[0], second.sessions[0]
    before = (fine.id, fine.position, fine.media)
    evil.id, evil.position, evil.media = "../../evil", 10**12, None
    for change in (
        lambda: evil.request.__setitem__("uri", "/"),
        lambda: evil.request["headers"].__setitem__("host", object()),
        lambda: evil.custom_config.__setitem__("x", 1),
    ):
        with pytest.raises(AttributeError):
            change()
    assert (fine.id, fine.position, fine.media) == before
    whole_call(client)
    assert client.counters.value("internal_errors") == 0


def test_each_plugin_has_a_copy_of_the_nested_configuration() -> None:
    first, second = Plugin(CapturingSink()), Plugin(CapturingSink())
    opened_client = ScriptedClient(Watcher("evil", first), Watcher("fine", second))
    opened_client.open(customConfig={"queues": [1]}, inputVariables={"a": {"b": 1}})
    evil, fine = first.sessions[0], second.sessions[0]
    evil.custom_config["queues"].append(2)
    evil.input_variables["a"]["b"] = 2
    assert fine.custom_config == {"queues": [1]}
    assert fine.input_variables == {"a": {"b": 1}}


def test_a_plugin_reads_a_configuration_that_is_nested_deeply() -> None:
    plugin = Plugin(CapturingSink())
    nested: Any = []
    for _ in range(600):
        nested = [nested]
    ScriptedClient(Watcher("fine", plugin)).open(customConfig={"deep": nested}, inputVariables={"deep": nested})
    assert plugin.sessions[0].custom_config == plugin.sessions[0].input_variables == {"deep": nested}


def test_a_session_keeps_the_text_of_a_configuration_and_not_its_objects() -> None:
    plugin = Plugin(CapturingSink())
    client = ScriptedClient(Watcher("fine", plugin))
    lists: Any = {"a": [[]] * 7_000}
    tracemalloc.start()
    try:
        client.open(customConfig=lists, inputVariables=lists)
        assert plugin.sessions[0].custom_config == plugin.sessions[0].input_variables == lists
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 400_000  # 900,000 bytes when both are decoded
    finally:
        tracemalloc.stop()


def test_an_opening_that_lost_its_session_opens_all_the_same() -> None:
    def lose(opening: IOpening) -> None:
        opening.session = None

    client = opened(admitted_by(lose), admitted_by(lambda opening: opening.session.id))
    assert client.types == ["opened"]
    assert client.counters.value("internal_errors") == 0
