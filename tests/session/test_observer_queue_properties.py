"""Whatever comes and whatever fails: audio and gaps tile the call, and ``closed`` comes once."""

from collections import deque

from hypothesis import example, given
from hypothesis import strategies as st

from audiohookd.interfaces import PartialLoss
from audiohookd.protocol.events import GapCause
from audiohookd.session.observer_queue import ObserverQueueFull
from tests.session.observer_queue_rig import BIG, OVERFLOWING, Call

STEPS = st.sampled_from(["audio", "big", "big", "big", "gap", "ping", "message", "fire", "fire", "burst"])
GOOD = ["done", "fired", "later", "coroutine", "lapse", "lapsed", "lapse-later"]
GOOD_ANSWERS = st.lists(st.sampled_from(GOOD), min_size=1, max_size=8)
ANSWERS = st.lists(st.sampled_from([*GOOD, "raise", "fail", "failed"]), min_size=1)


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
    failures = [failure for failure in call.failures if not isinstance(failure, PartialLoss)]
    assert failures == [] or type(failures[0]) is ObserverQueueFull
    end = call.tiled()
    assert end == call.session.position or failures
    assert call.sink.names.count("closed") == 1
    assert call.sink.names[-1] == "closed"
    assert call.mailbox.finished.called
    overflown = sum(gap.samples for gap in call.sink.arguments("gap") if gap.cause is GapCause.OVERFLOW)
    assert overflown == call.lost or failures


@given(st.lists(STEPS), ANSWERS, st.sampled_from(["fire", "hurry"]))
def test_whatever_fails_closed_comes_once_and_last(steps: list[str], answers: list[str], how: str) -> None:
    call = Call(*answers)
    play(call, steps)
    call.mailbox.end("end")
    if how == "hurry":
        late, call.pending = call.pending, deque()
        call.mailbox.drop_pending()
        for result, _ in late:
            result.callback(None)
    call.fire_all()
    end = call.tiled()
    failures = [failure for failure in call.failures if not isinstance(failure, PartialLoss)]
    if how == "hurry" and not failures:
        told = sum(gap.samples for gap in call.sink.arguments("gap") if gap.cause is GapCause.OVERFLOW)
        assert call.session.position - end == call.lost - told
    assert call.sink.names.count("closed") == 1
    assert call.sink.names[-1] == "closed"
    assert call.mailbox.finished.called
    if failures:
        assert call.sink.names[call.told_until_failure :] in ([], ["closed"])
