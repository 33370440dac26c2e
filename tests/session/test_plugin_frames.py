"""Which plugin a frame of ours calls, and in which callback: as read off the stack while the plugin is called."""

import sys
from typing import Any

from twisted.internet.defer import Deferred

from audiohookd.interfaces import ISession
from audiohookd.observe.counters import Counters
from audiohookd.plugin_frames import plugin_call
from audiohookd.session.fanout import Fanout, RoutePlugins, Watcher
from audiohookd.testing import CapturingSink, FakeSession
from audiohookd.testing.client import ScriptedClient
from tests.websocket.server_rig import Admitting, Plugin, admitted_by, watched_by


class Stack:
    """Remembers what the stack says each time that a plugin is called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str] | None] = []

    def look(self, *_: Any) -> None:
        frame = sys._getframe()
        while frame is not None and (call := plugin_call(frame)) is None:
            frame = frame.f_back  # type: ignore[assignment]  # None at the end
        self.calls.append(call)


def fanout(*watchers: Watcher) -> Fanout:
    return Fanout(FakeSession(), RoutePlugins(watchers), Counters(), lambda _: None, lambda: 0.0)


def test_observers_are_told_apart_although_their_class_is_the_same() -> None:
    stack = Stack()
    calls = fanout(watched_by(CapturingSink(stack.look), "one"), watched_by(CapturingSink(stack.look), "other"))
    calls.open()
    calls.audio(b"\xff" * 320)
    calls.end("end")
    expected = [(name, method) for method in ("opened", "audio", "closed") for name in ("one", "other")]
    assert stack.calls == expected


def test_a_call_that_waited_is_one_of_its_own_callback() -> None:
    stack, busy = Stack(), Deferred[None]()
    answers: list[Any] = [busy]

    def act(*_: Any) -> Any:
        stack.look()
        return answers.pop() if answers else None

    calls = fanout(watched_by(CapturingSink(act), "slow"))
    calls.open()
    calls.audio(b"\xff" * 320)
    busy.callback(None)
    assert stack.calls == [("slow", "opened"), ("slow", "audio")]


def test_observe_is_a_callback() -> None:
    stack = Stack()

    class Looking(Plugin):
        def observe(self, session: ISession) -> None:
            stack.look()

    fanout(Watcher("looking", Looking())).open()
    assert stack.calls == [("looking", "observe")]


def test_admit_is_a_callback() -> None:
    stack = Stack()
    client = ScriptedClient(admitted_by(stack.look, CapturingSink(), "guard"))
    client.open()
    assert stack.calls == [("guard", "admit")]


def test_handling_an_answer_is_no_call_of_the_plugin() -> None:
    stack = Stack()

    class Answer(tuple[Any, ...]):
        """Its length is asked for by us, once the plugin has answered."""

        __slots__ = ()

        def __iter__(self) -> Any:
            stack.look()
            return super().__iter__()

    def admit(opening: Any) -> None:
        opening.supported_languages = Answer(("en",))

    client = ScriptedClient(Watcher("guard", Admitting(admit, CapturingSink())))
    client.open()
    assert stack.calls == [None]
