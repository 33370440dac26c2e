"""One timer per call; and calls of any course end cleanly."""

from typing import Any

from connection_rig import FRAME, gone, opened
from hypothesis import example, given
from hypothesis import strategies as st
from server_rig import CountingClock, assert_tiles, watched_by
from twisted.internet.defer import Deferred

from audiohookd.protocol.timers import Timers
from audiohookd.testing import CapturingSink, ScriptedClient


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


class Steady:
    """A clock that nobody puts forward."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_a_wall_clock_that_is_put_forward_ends_no_call() -> None:
    steady = Steady()
    client = opened(now=steady, timers=Timers(idle_timeout=20.0))
    client.clock.advance(3_600.0)
    assert client.types == ["opened"]
    assert len(client.clock.getDelayedCalls()) == 1


def test_a_timer_that_rang_too_early_is_armed_for_the_rest() -> None:
    steady = Steady()
    client = opened(now=steady, timers=Timers(idle_timeout=20.0))
    steady.seconds += 15.0
    client.clock.advance(25.0)
    assert client.types == ["opened"]
    steady.seconds += 5.0
    client.clock.advance(4.9)
    assert client.types == ["opened"]
    client.clock.advance(0.1)
    assert client.types == ["opened", "disconnect"]


def test_who_slept_first_hears_what_was_said_meanwhile() -> None:
    """The whole machine was stopped: timers ring before the sockets are read."""
    client = opened(timers=Timers(idle_timeout=20.0))
    client.clock.advance(45.0)
    client.say("ping")
    client.clock.advance(19.0)
    assert client.types == ["opened", "pong"]


def test_who_has_nothing_to_hear_after_a_sleep_does_not_wait_long() -> None:
    client = opened(timers=Timers(idle_timeout=20.0))
    client.clock.advance(45.0)
    client.clock.advance(1.9)
    assert client.types == ["opened"]
    client.clock.advance(0.1)
    assert client.types == ["opened", "disconnect"]


def test_messages_do_not_arm_timers_after_the_wall_clock_was_put_back() -> None:
    clock, steady = CountingClock(), Steady()
    client = opened(clock=clock, now=steady)
    clock.rightNow -= 3_600.0
    armed = clock.armed
    for _ in range(10):
        client.say("ping")
    assert clock.armed == armed
