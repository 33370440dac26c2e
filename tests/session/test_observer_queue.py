"""One observer's queue: what it gets, in which order, and what it cannot do to anybody else."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from audiohookd.interfaces import PartialLoss
from audiohookd.protocol.events import Gap, GapCause
from audiohookd.session.observer_queue import AUDIO_LIMIT, CALL_LIMIT, MESSAGE_LIMIT, ObserverQueue, ObserverQueueFull
from audiohookd.testing import CapturingSink, FakeSession
from tests.session.observer_queue_rig import BIG, OVERFLOWING, START_POSITION, Call
from tests.websocket.server_rig import CountedBytes


def test_an_idle_observer_gets_everything_at_once() -> None:
    call = Call()
    call.mailbox.call("opened")
    call.audio()
    call.gap()
    call.mailbox.call("paused")
    assert call.sink.names == ["opened", "audio", "gap", "paused"]


@pytest.mark.parametrize("answer", ["later", "coroutine"])
def test_while_the_observer_is_busy_everything_waits_in_order(answer: str) -> None:
    call = Call(answer)
    call.mailbox.call("opened")
    call.audio()
    call.mailbox.call("paused")
    call.gap()
    assert call.sink.names == ["opened"]
    call.fire()
    assert call.sink.names == ["opened", "audio"]
    call.fire_all()
    assert call.sink.names == ["opened", "audio", "paused", "gap"]
    assert call.tiled() == call.session.position


def test_a_deferred_that_has_fired_already_holds_nothing_up() -> None:
    call = Call("fired")
    call.mailbox.call("opened")
    for _ in range(3):
        call.audio()
    assert call.sink.names == ["opened", "audio", "audio", "audio"]


def test_an_observer_may_return_one_and_the_same_deferred_again_and_again() -> None:
    ready: Deferred[None] = Deferred()
    sink = CapturingSink(lambda *_: ready)
    mailbox = ObserverQueue(sink, FakeSession(), pytest.fail, pytest.fail)  # type: ignore[arg-type]
    for method in ("opened", "paused", "resumed"):
        mailbox.call(method)
    assert sink.names == ["opened"]
    ready.callback(None)
    assert sink.names == ["opened", "paused", "resumed"]


def test_a_call_caused_by_a_callback_is_delivered_after_it() -> None:
    def act(method: str, *_: Any) -> None:
        if method == "opened":
            mailbox.call("message", True, b"{}", 0.0)
            depth.append(list(sink.names))

    depth: list[list[str]] = []
    sink = CapturingSink(act)
    mailbox = ObserverQueue(sink, FakeSession(), pytest.fail, pytest.fail)  # type: ignore[arg-type]
    mailbox.call("opened")
    assert depth == [["opened"]]
    assert sink.names == ["opened", "message"]


def test_too_much_audio_becomes_one_gap() -> None:
    call = Call("later")
    call.mailbox.call("opened")
    for _ in range(OVERFLOWING + 10):
        call.audio(BIG)
    call.fire_all()
    gaps = call.sink.arguments("gap")
    kept = OVERFLOWING - 1
    assert gaps == [Gap(START_POSITION + kept * 32_000, 11 * 32_000, GapCause.OVERFLOW)]
    assert call.lost == 11 * 32_000
    assert call.failures == []
    assert call.tiled() == call.session.position


def test_once_there_is_room_again_audio_follows_the_gap() -> None:
    call = Call("later")
    call.mailbox.call("opened")
    for _ in range(OVERFLOWING):
        call.audio(BIG)
    call.fire()
    call.audio(BIG)
    call.fire_all()
    assert call.sink.names[-2:] == ["gap", "audio"]
    assert call.tiled() == call.session.position


def test_tiny_frames_are_bounded_too() -> None:
    call = Call("later")
    call.mailbox.call("opened")
    for _ in range(CALL_LIMIT + 5):
        call.audio(b"\xff\xff")
    call.fire_all()
    assert call.sink.names.count("audio") == CALL_LIMIT
    assert [gap.samples for gap in call.sink.arguments("gap")] == [5]


def test_memory_is_bounded_whatever_comes() -> None:
    call = Call("later")
    call.mailbox.call("opened")
    most = 0
    for _ in range(500):
        call.audio(CountedBytes(bytes(6_400)))
        call.mailbox.call("message", False, CountedBytes(bytes(60_000)), 0.0)
        most = max(most, CountedBytes.alive)
    assert MESSAGE_LIMIT < most <= AUDIO_LIMIT + MESSAGE_LIMIT + 60_000
    assert [type(failure) for failure in call.failures] == [ObserverQueueFull]
    assert CountedBytes.alive == 0  # cut off: nothing is kept for it


@pytest.mark.parametrize("answer", ["raise", "failed", "fail"])
def test_an_observer_that_fails_gets_nothing_more_but_closed(answer: str) -> None:
    call = Call("done", answer, "done")
    call.mailbox.call("opened")
    call.audio()
    call.fire_all()
    call.audio()
    call.gap()
    call.mailbox.call("paused")
    assert call.sink.names == ["opened", "audio"]
    assert len(call.failures) == 1
    call.mailbox.end("end")
    assert call.sink.names == ["opened", "audio", "closed"]
    assert call.mailbox.finished.called


@pytest.mark.parametrize("answer", ["lapse", "lapsed", "lapse-later"])
def test_an_observer_that_lost_a_part_goes_on(answer: str) -> None:
    call = Call("done", answer, answer, "done")
    call.mailbox.call("opened")
    call.audio()
    call.mailbox.call("paused")
    call.audio()
    call.fire_all()
    assert call.sink.names == ["opened", "audio", "paused", "audio"]
    assert [type(failure) for failure in call.failures] == [PartialLoss, PartialLoss]
    call.mailbox.end("end")
    assert call.sink.names[-1] == "closed"


def test_calls_that_wait_are_delivered_after_a_partial_loss() -> None:
    call = Call("lapse-later", "done")
    call.mailbox.call("opened")
    call.audio()
    call.gap()
    call.fire()
    assert call.sink.names == ["opened", "audio", "gap"]
    assert call.tiled() == call.session.position


def test_a_session_may_end_because_an_observer_lost_a_part() -> None:
    call = Call("done", "lapse", "done")
    call.when_failed = lambda: call.mailbox.end("error")
    call.mailbox.call("opened")
    call.audio()
    assert call.sink.calls[-1] == ("closed", "error")
    assert call.mailbox.finished.called


def test_calls_that_wait_are_dropped_after_a_failure() -> None:
    call = Call("fail", "done")
    call.mailbox.call("opened")
    call.audio()
    call.mailbox.call("paused")
    call.fire()
    call.mailbox.end("end")
    assert call.sink.names == ["opened", "closed"]


def test_too_many_calls_cut_the_observer_off() -> None:
    call = Call("later", "done")
    call.mailbox.call("opened")
    for _ in range(CALL_LIMIT):
        call.mailbox.call("round_trip", 1)
    assert call.failures == []
    call.mailbox.call("round_trip", 1)
    assert [type(failure) for failure in call.failures] == [ObserverQueueFull]
    call.mailbox.end("end")
    assert call.sink.names == ["opened"]  # it is still busy with that
    call.fire()
    assert call.sink.names == ["opened", "closed"]


def test_audio_that_waits_does_not_count_as_calls() -> None:
    call = Call("later")
    call.mailbox.call("opened")
    for _ in range(CALL_LIMIT):
        call.audio(b"\xff\xff")
    call.mailbox.call("paused")
    assert call.failures == []


def test_a_failure_that_comes_after_the_cut_off_is_still_told() -> None:
    call = Call("fail", "done")
    call.mailbox.call("opened")
    for _ in range(CALL_LIMIT + 1):
        call.mailbox.call("round_trip", 1)
    call.fire()
    assert [type(failure) for failure in call.failures] == [ObserverQueueFull, RuntimeError]
    call.mailbox.end("end")
    assert call.sink.names == ["opened", "closed"]
