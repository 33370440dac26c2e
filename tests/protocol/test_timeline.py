"""How far a client can be, whatever it says."""

from hypothesis import given
from hypothesis import strategies as st

from audiohookd.protocol.events import Gap, GapCause
from audiohookd.protocol.timeline import Timeline
from audiohookd.protocol.timeouts import POSITION_LEEWAY

LEEWAY = int(POSITION_LEEWAY * 8000)


class Call:
    """A time line that began at ``start``, and its clock."""

    def __init__(self, start: int = 0, max_duration: float = 86_400.0) -> None:
        self.now = 1000.0
        self.line = Timeline(lambda: self.now)
        self.line.position = start
        self.line.begin(max_duration)


@given(st.integers(0, 10**9), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_gap_may_last_as_long_as_the_session_and_the_leeway(start: int, elapsed: int, audio: int) -> None:
    call = Call(start)
    call.now += elapsed / 8000 / 4  # in quarters of a sample, which floats hold exactly at this size
    elapsed //= 4
    assert call.line.advance(audio)
    here = start + audio
    assert call.line.can_reach(here + elapsed + LEEWAY - 1)
    assert not call.line.can_reach(here + elapsed + LEEWAY + 2)


@given(st.lists(st.integers(1, 100_000), min_size=1))
def test_all_gaps_together_are_bounded(wishes: list[int]) -> None:
    call = Call()
    gaps = []
    for wish in wishes * 10:
        target = call.line.position + wish
        if call.line.can_reach(target):
            gaps.append(call.line.skip_to(target, GapCause.DISCARDED))
    assert sum(gap.samples for gap in gaps) == call.line.position <= LEEWAY


@given(st.integers(0, 10**9), st.lists(st.integers(0, 8000), max_size=20))
def test_audio_is_bounded_by_the_longest_session_alone(start: int, frames: list[int]) -> None:
    call = Call(start, max_duration=1)
    for samples in frames:
        assert call.line.advance(samples)
    assert not call.line.advance(start + 8000 + LEEWAY - call.line.position + 1)
    assert call.line.advance(start + 8000 + LEEWAY - call.line.position)


def test_no_gap_goes_beyond_the_longest_session() -> None:
    call = Call(max_duration=1)
    call.now += 100
    assert call.line.can_reach(8000 + LEEWAY)
    assert not call.line.can_reach(8000 + LEEWAY + 1)


def test_a_gap_tells_where_it_lies() -> None:
    call = Call(start=80)
    assert call.line.skip_to(100, GapCause.PAUSED) == Gap(80, 20, GapCause.PAUSED)
    assert call.line.position == 100
