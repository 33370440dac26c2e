"""No log flood: so many lines of a kind a minute, and how many more there were."""

from hypothesis import given
from hypothesis import strategies as st

from audiohookd.observe.log_rate_limit import PERIOD, LogRateLimit


def test_the_first_lines_of_a_minute_are_written_and_the_next_minute_tells_of_the_rest() -> None:
    floods = LogRateLimit(limit=2)
    assert [floods.admit("a", now) for now in (0, 1, 2, 3, 59)] == [0, 0, None, None, None]
    assert [floods.admit("a", now) for now in (60, 61, 62)] == [3, 0, None]
    assert floods.admit("a", 1000) == 1


def test_kinds_do_not_count_for_one_another() -> None:
    floods = LogRateLimit(limit=1)
    assert [floods.admit(kind, 0) for kind in "aabb"] == [0, None, 0, None]


@given(st.lists(st.floats(0, 30), max_size=100), st.integers(1, 5))
def test_all_that_is_not_written_is_told_once(pauses: list[float], limit: int) -> None:
    floods = LogRateLimit(limit)
    now = told = written = 0.0
    for pause in pauses:
        now += pause
        left_out = floods.admit("a", now)
        if left_out is not None:
            written += 1
            told += left_out
    left_out = floods.admit("a", now + PERIOD + 1)
    assert left_out is not None
    assert told + left_out + written == len(pauses)


def test_memory_has_a_bound() -> None:
    floods = LogRateLimit(limit=1, kinds=3)
    for number in range(100):
        assert floods.admit(f"kind {number}", 0) == 0
    assert len(floods._counts) <= 3
