"""A plugin that uses its session where or when it must not: nothing breaks, and the log names it."""

import asyncio
from threading import Thread
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent

from audiohookd.interfaces import WrongThread
from audiohookd.observer import SessionObserver
from audiohookd.session.fanout import Watcher
from audiohookd.testing import CapturingSink
from audiohookd.testing.client import ScriptedClient
from tests.session.connection_rig import ENTITY, gone, opened
from tests.websocket.server_rig import Plugin


def lines(logged: list[LogEvent]) -> list[str]:
    return [str(formatEvent(event)) for event in logged if event.get("plugin") == "evil"]


class Site:
    """A call that a plugin watches, and its session."""

    def __init__(self) -> None:
        self.plugin = Plugin(CapturingSink())
        self.client: ScriptedClient = opened(Watcher("evil", self.plugin))
        self.session: Any = self.plugin.sessions[0]

    @property
    def failures(self) -> int:
        return self.client.counters.value("plugin_failures", "evil")

    def in_thread(self, method: str, *arguments: Any) -> None:
        def swallow() -> None:
            with pytest.raises(WrongThread):
                getattr(self.session, method)(*arguments)

        thread = Thread(target=swallow, name="worker")
        thread.start()
        thread.join()


@pytest.mark.parametrize(
    ("method", "arguments"), [("send_event", ([ENTITY],)), ("pause", ()), ("resume", ()), ("disconnect", ())]
)
def test_another_thread_sends_nothing_and_is_named_once(method: str, arguments: Any, logged: list[LogEvent]) -> None:
    site = Site()
    for _ in range(3):
        site.in_thread(method, *arguments)
    assert site.client.types == ["opened"]
    assert site.failures == 1
    (line,) = lines(logged)
    assert f"{method} was called in thread 'worker', not in the reactor thread: it had no effect" in line
    assert f"({__file__}:" in line


def test_a_session_that_is_over_sends_nothing_and_its_use_is_named_once(logged: list[LogEvent]) -> None:
    site = Site()
    site.client.close()
    site.client.leave()
    assert gone(site.client)
    assert lines(logged) == []
    assert [site.session.send_event([ENTITY]) for _ in range(3)] == [False] * 3
    assert site.session.disconnect() is False
    assert site.failures == 2
    first, second = lines(logged)
    assert "send_event was called after the session had ended: it had no effect" in first
    assert "disconnect was called after the session had ended" in second


def test_a_session_in_closed_may_still_be_used(logged: list[LogEvent]) -> None:
    used: list[bool] = []

    def act(method: str, *_: Any) -> None:
        if method == "closed":
            used.append(plugin.sessions[0].pause())

    plugin = Plugin(CapturingSink(act))
    client = opened(Watcher("evil", plugin))
    client.close()
    assert used == [False]
    assert client.counters.value("plugin_failures", "evil") == 0
    assert lines(logged) == []


def test_a_plugin_that_ends_the_session_is_named_once(logged: list[LogEvent]) -> None:
    site = Site()
    assert [site.session.disconnect("error", "no licence") for _ in range(3)] == [True, False, False]
    (line,) = lines(logged)
    assert line.endswith("plugin evil ends the session: error, no licence")
    assert site.failures == 0


@pytest.mark.parametrize("info", [b"bytes", 5])
def test_a_disconnect_that_cannot_be_sent_is_a_failure_of_the_plugin(info: Any) -> None:
    plugin = Plugin(CapturingSink(lambda method, *_: act() if method == "audio" else None))

    def act() -> None:
        plugin.sessions[0].disconnect("completed", info)

    client = opened(Watcher("evil", plugin))
    client.speak(b"\xff" * 320)
    assert client.counters.value("plugin_failures", "evil") == 1
    assert client.counters.value("internal_errors") == 0
    client.close()
    assert client.types == ["opened", "closed"]


def task() -> Any:
    loop = asyncio.new_event_loop()
    try:
        return loop.create_future()
    finally:
        loop.close()


@pytest.mark.parametrize("at", ["opened", "audio", "closing", "closed"])
def test_a_future_that_a_callback_returns_is_a_failure_that_says_what_to_return(
    at: str, logged: list[LogEvent]
) -> None:
    client = opened(Watcher("evil", Plugin(CapturingSink(lambda method, *_: task() if method == at else None))))
    client.speak(b"\xff" * 320)
    client.close()
    client.leave()
    assert client.counters.value("plugin_failures", "evil") == 1
    assert gone(client)
    (event,) = [event for event in logged if event.get("plugin") == "evil"]
    assert "return a Deferred or be a coroutine" in str(event["log_failure"].value)


def test_mistakes_of_an_observer_that_no_start_could_find_are_named_once(logged: list[LogEvent]) -> None:
    class Deaf(SessionObserver):
        def audio(self, frame: bytes) -> None:
            raise AssertionError

        def on_closed(self, reason: str) -> None:
            raise AssertionError

    watcher = Watcher("evil", Plugin(Deaf()))
    clients = [opened(watcher) for _ in range(2)]
    assert [client.counters.value("plugin_failures", "evil") for client in clients] == [2, 0]
    first, second = lines(logged)
    assert "Deaf.audio" in first
    assert "does not provide IAudioSink" in first
    assert "did you mean 'closed'?" in second


def test_an_observe_that_returns_a_deferred_says_what_to_return(logged: list[LogEvent]) -> None:
    client = opened(Watcher("evil", Plugin(Deferred())))
    assert client.types == ["opened"]
    (event,) = [event for event in logged if event.get("plugin") == "evil"]
    assert "observe must return an observer or None: Deferred" in str(event["log_failure"].value)
