"""One timer per call; and calls of any course end cleanly."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from audiohookd.protocol.timeouts import Timeouts
from audiohookd.session.fanout import Watcher
from audiohookd.testing import START, CapturingSink
from audiohookd.testing.client import ScriptedClient
from tests.session.connection_rig import FRAME, gone, opened
from tests.websocket.server_rig import CountingClock, Plugin, assert_tiles, watched_by


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
    client = opened(clock=clock, timers=Timeouts(idle_timeout=20.0))
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
        """Finishes the observer's calls, until it has no more."""
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


class Date:
    """A wall clock that stands until the test sets it."""

    def __init__(self) -> None:
        self.seconds = START

    def __call__(self) -> float:
        return self.seconds


@pytest.mark.parametrize("change", [-3_600.0, 3_600.0])
def test_nothing_that_is_done_to_the_date_ends_a_call_or_lets_it_wait(change: float) -> None:
    date = Date()
    client = opened(now=date, timers=Timeouts(idle_timeout=20.0))
    date.seconds += change
    client.clock.advance(15.0)
    client.say("ping")
    client.clock.advance(19.9)
    assert client.types == ["opened", "pong"]
    client.clock.advance(0.1)
    assert client.types == ["opened", "pong", "disconnect"]


@pytest.mark.parametrize("change", [-3_600.0, 3_600.0])
def test_within_a_session_dates_go_on_as_time_does(change: float) -> None:
    """So that a sidecar, in which they stand as durations, is right whatever is done to the date."""
    date, plugin = Date(), Plugin(CapturingSink())
    client = opened(Watcher("plugin", plugin), now=date)
    date.seconds += change
    client.clock.advance(5.0)
    client.say("ping")
    (session,) = plugin.sessions
    assert session.started_at == START
    assert [call[3] for call in plugin.observer.calls if call[0] == "message"] == [START, START, START + 5, START + 5]


def test_after_a_sleep_pending_messages_are_read_before_the_time_out() -> None:
    """The whole machine was stopped: timers ring before the sockets are read."""
    client = opened(timers=Timeouts(idle_timeout=20.0))
    client.clock.advance(45.0)
    client.say("ping")
    client.clock.advance(19.0)
    assert client.types == ["opened", "pong"]


def test_after_a_sleep_a_silent_session_times_out_soon() -> None:
    client = opened(timers=Timeouts(idle_timeout=20.0))
    client.clock.advance(45.0)
    client.clock.advance(1.9)
    assert client.types == ["opened"]
    client.clock.advance(0.1)
    assert client.types == ["opened", "disconnect"]
