"""One observer's queue: what it gets, in which order, and what it cannot do to anybody else."""

from collections import deque
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from server_rig import CountedBytes, assert_tiles
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from audiohookd.protocol.events import Gap, GapCause
from audiohookd.server.mailbox import AUDIO_LIMIT, CALL_LIMIT, MESSAGE_LIMIT, Mailbox, MailboxFull, NeverDone
from audiohookd.testing import CapturingSink, FakeSession

START_POSITION = 4000
FRAME = b"\xff" * 320  # 160 samples of two channels
BIG = b"\xff" * 64_000
OVERFLOWING = AUDIO_LIMIT // len(BIG) + 1


class Call:
    """A session whose audio goes into one mailbox.

    ``answers`` says what the observer does with its next calls: ``done``, ``fired`` or ``later`` (Deferreds),
    ``coroutine``, ``raise``, ``fail`` (later), ``failed`` (at once).
    """

    def __init__(self, *answers: str) -> None:
        self.session = FakeSession()
        self.session.position = START_POSITION
        self.sink = CapturingSink(self._act)
        self.failures: list[BaseException] = []
        self.told_until_failure = 0
        self.disturbed = False
        self.lost = 0
        self.pending: deque[tuple[Deferred[None], bool]] = deque()
        self._answers: Iterator[str] = cycle(answers or ("done",))
        self.mailbox = Mailbox(self.sink, self.session, self._failed, self._lost)

    def audio(self, frame: bytes = FRAME) -> None:
        self.session.position += len(frame) // 2
        self.mailbox.audio(frame)

    def gap(self, samples: int = 800) -> None:
        gap = Gap(self.session.position, samples, GapCause.PAUSED)
        self.session.position += samples
        self.mailbox.call("gap", gap)

    def fire(self) -> None:
        """The observer is done with what it is busy with."""
        result, fails = self.pending.popleft()
        if fails:
            result.errback(RuntimeError("late"))
        else:
            result.callback(None)

    def fire_all(self) -> None:
        while self.pending:
            self.fire()

    def tiled(self) -> int:
        assert not self.disturbed, "called while it was busy"
        return assert_tiles(self.sink, START_POSITION, 2)

    def _failed(self, failure: Failure) -> None:
        if not self.failures:
            self.told_until_failure = len(self.sink.calls)
        self.failures.append(failure.value)

    def _lost(self, samples: int) -> None:
        self.lost += samples

    def _act(self, *_: Any) -> Any:
        # Not an assertion: the mailbox would take it for a failure of the observer.
        self.disturbed = self.disturbed or bool(self.pending)
        answer = next(self._answers)
        match answer:
            case "fired":
                return succeed(None)
            case "failed":
                return fail(RuntimeError("at once"))
            case "raise":
                raise RuntimeError("raised")
            case "coroutine":
                return self._coroutine()
            case "later" | "fail":
                return self._later(answer == "fail")
        return None

    def _later(self, fails: bool) -> "Deferred[None]":
        result: Deferred[None] = Deferred()
        self.pending.append((result, fails))
        return result

    async def _coroutine(self) -> None:
        await self._later(False)


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
    mailbox = Mailbox(sink, FakeSession(), pytest.fail, pytest.fail)
    for method in ("opened", "paused", "resumed"):
        mailbox.call(method)
    assert sink.names == ["opened"]
    ready.callback(None)
    assert sink.names == ["opened", "paused", "resumed"]


def test_what_an_observer_causes_while_it_is_told_something_is_told_later() -> None:
    def act(method: str, *_: Any) -> None:
        if method == "opened":
            mailbox.call("message", True, b"{}", 0.0)
            depth.append(list(sink.names))

    depth: list[list[str]] = []
    sink = CapturingSink(act)
    mailbox = Mailbox(sink, FakeSession(), pytest.fail, pytest.fail)
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
    assert [type(failure) for failure in call.failures] == [MailboxFull]
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


def test_what_waited_for_an_observer_that_failed_is_gone() -> None:
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
    assert [type(failure) for failure in call.failures] == [MailboxFull]
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
    assert [type(failure) for failure in call.failures] == [MailboxFull, RuntimeError]
    call.mailbox.end("end")
    assert call.sink.names == ["opened", "closed"]


def test_closed_comes_after_all_that_waits() -> None:
    call = Call("later")
    call.mailbox.call("opened")
    call.audio()
    call.mailbox.end("end")
    call.audio()
    call.mailbox.call("paused")
    assert call.sink.names == ["opened"]
    call.fire_all()
    assert call.sink.calls[-2:] == [("audio", FRAME), ("closed", "end")]
    assert call.mailbox.finished.called


def test_closed_comes_once() -> None:
    call = Call()
    call.mailbox.end("end")
    call.mailbox.end("error")
    call.mailbox.hurry()
    assert call.sink.calls == [("closed", "end")]


def test_finished_waits_for_a_closed_that_takes_its_time() -> None:
    call = Call("later")
    call.mailbox.end("end")
    assert not call.mailbox.finished.called
    call.fire()
    assert call.mailbox.finished.called


@pytest.mark.parametrize("answer", ["raise", "failed", "fail"])
def test_a_closed_that_fails_is_told_and_finishes(answer: str) -> None:
    call = Call(answer)
    call.mailbox.end("end")
    call.fire_all()
    assert len(call.failures) == 1
    assert call.mailbox.finished.called


def test_in_a_hurry_closed_comes_at_once_and_late_results_change_nothing() -> None:
    call = Call("later", "done")
    call.mailbox.call("opened")
    call.audio()
    call.mailbox.end("end")
    result, _ = call.pending.popleft()
    call.mailbox.hurry()
    assert call.sink.names == ["opened", "closed"]
    assert call.mailbox.finished.called
    result.callback(None)
    assert call.sink.names == ["opened", "closed"]


def test_there_is_no_hurry_before_the_end() -> None:
    call = Call("later")
    call.mailbox.call("opened")
    call.audio()
    call.mailbox.hurry()
    call.fire_all()
    assert call.sink.names == ["opened", "audio"]


def test_a_closed_that_never_ends_is_abandoned_and_counts_as_failed() -> None:
    call = Call("later")
    call.mailbox.end("end")
    call.mailbox.hurry()
    assert not call.mailbox.finished.called
    call.mailbox.abandon()
    assert call.mailbox.finished.called
    assert [type(failure) for failure in call.failures] == [NeverDone]
    call.fire()
    assert call.sink.names == ["closed"]


def test_drained_fires_when_the_last_word_is_said() -> None:
    call = Call("later")
    call.mailbox.call("closing", "end")
    drained = call.mailbox.drained()
    assert not drained.called
    call.fire()
    assert drained.called


def test_closed_waits_for_what_the_last_word_led_to() -> None:
    def goodbye(_: Any) -> None:
        call.mailbox.call("message", True, b"closed", 0.0)
        call.mailbox.end("end")

    call = Call("later")
    call.mailbox.call("closing", "end")
    call.mailbox.drained().addCallback(goodbye)
    call.fire()
    assert call.sink.names == ["closing", "message"]
    call.fire()
    assert call.sink.names == ["closing", "message", "closed"]


def test_nobody_waits_for_the_last_word_of_who_was_cut_off() -> None:
    call = Call("later")
    call.mailbox.call("opened")
    drained = call.mailbox.drained()
    for _ in range(CALL_LIMIT + 1):
        call.mailbox.call("round_trip", 1)
    assert drained.called


def test_an_idle_mailbox_is_drained() -> None:
    assert Call().mailbox.drained().called


STEPS = st.sampled_from(["audio", "big", "big", "big", "gap", "ping", "message", "fire", "fire", "burst"])
GOOD_ANSWERS = st.lists(st.sampled_from(["done", "fired", "later", "coroutine"]), min_size=1, max_size=8)
ANSWERS = st.lists(st.sampled_from(["done", "fired", "later", "coroutine", "raise", "fail", "failed"]), min_size=1)


def play(call: Call, steps: list[str]) -> None:
    call.mailbox.call("opened")
    for step in steps:
        match step:
            case "audio":
                call.audio()
            case "big":
                call.audio(BIG)
            case "burst":
                for _ in range(OVERFLOWING):
                    call.audio(BIG)
            case "gap":
                call.gap()
            case "ping":
                call.mailbox.call("round_trip", 1)
            case "message":
                call.mailbox.call("message", False, BIG, 0.0)
            case "fire" if call.pending:
                call.fire()


@given(st.lists(STEPS), GOOD_ANSWERS)
@example(["big"] * 6 + ["ping", "big", "fire", "big", "gap", "big"], ["later"])
def test_whatever_comes_audio_and_gaps_tile_the_call(steps: list[str], answers: list[str]) -> None:
    call = Call(*answers)
    play(call, steps)
    call.mailbox.end("end")
    call.fire_all()
    assert call.failures == [] or type(call.failures[0]) is MailboxFull
    end = call.tiled()
    assert end == call.session.position or call.failures
    assert call.sink.names.count("closed") == 1
    assert call.sink.names[-1] == "closed"
    assert call.mailbox.finished.called
    overflown = sum(gap.samples for gap in call.sink.arguments("gap") if gap.cause is GapCause.OVERFLOW)
    assert overflown == call.lost or call.failures


@given(st.lists(STEPS), ANSWERS, st.sampled_from(["fire", "hurry"]))
def test_whatever_fails_closed_comes_once_and_last(steps: list[str], answers: list[str], how: str) -> None:
    call = Call(*answers)
    play(call, steps)
    call.mailbox.end("end")
    if how == "hurry":
        late, call.pending = call.pending, deque()
        call.mailbox.hurry()
        for result, _ in late:
            result.callback(None)
    call.fire_all()
    call.tiled()
    assert call.sink.names.count("closed") == 1
    assert call.sink.names[-1] == "closed"
    assert call.mailbox.finished.called
    if call.failures:
        assert call.sink.names[call.told_until_failure :] in ([], ["closed"])
