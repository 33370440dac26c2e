"""The last calls of an observer: when ``closed`` is called, and what waits for it."""

from typing import Any

import pytest

from audiohookd.session.observer_queue import CALL_LIMIT, ObserverTimeout
from tests.session.observer_queue_rig import BIG, FRAME, OVERFLOWING, Call


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
    call.mailbox.drop_pending()
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
    call.mailbox.drop_pending()
    assert call.sink.names == ["opened", "closed"]
    assert call.mailbox.finished.called
    result.callback(None)
    assert call.sink.names == ["opened", "closed"]


def test_there_is_no_hurry_before_the_end() -> None:
    call = Call("later")
    call.mailbox.call("opened")
    call.audio()
    call.mailbox.drop_pending()
    call.fire_all()
    assert call.sink.names == ["opened", "audio"]


def test_a_closed_that_never_ends_is_abandoned_and_counts_as_failed() -> None:
    call = Call("later")
    call.mailbox.end("end")
    call.mailbox.drop_pending()
    assert not call.mailbox.finished.called
    call.mailbox.force_finish()
    assert call.mailbox.finished.called
    assert [type(failure) for failure in call.failures] == [ObserverTimeout]
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


def test_dropped_calls_are_reported_as_lost() -> None:
    call = Call("later")
    call.mailbox.call("opened")
    call.audio()
    call.gap(800)
    call.mailbox.call("round_trip", 1)
    call.mailbox.end("end")
    assert call.lost == 0
    call.mailbox.drop_pending()
    assert call.lost == 160 + 800
    call.mailbox.drop_pending()
    assert call.lost == 160 + 800


def test_calls_that_overflowed_before_are_not_counted_again() -> None:
    call = Call("later")
    call.mailbox.call("opened")
    for _ in range(OVERFLOWING):
        call.audio(BIG)
    assert call.lost == len(BIG) // 2
    call.mailbox.end("end")
    call.mailbox.drop_pending()
    assert call.lost == OVERFLOWING * len(BIG) // 2


def test_nobody_waits_for_who_is_cut_off_and_busy() -> None:
    call = Call("later")
    call.mailbox.call("opened")
    for _ in range(CALL_LIMIT + 1):
        call.mailbox.call("round_trip", 1)
    assert call.pending
    assert call.mailbox.drained().called
    call.mailbox.end("end")
    assert call.sink.names == ["opened"]
