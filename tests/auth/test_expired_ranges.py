"""Ranges of ``created`` with expired nonces: they are bounded, and no added time is lost."""

from hypothesis import given
from hypothesis import strategies as st

from audiohookd.auth.replay.expired_ranges import MAX_RANGES, ExpiredRanges

WINDOW = 16.0
CREATED = st.floats(0.0, 1e9).map(round)


@given(expired=st.lists(st.tuples(CREATED, st.floats(0.0, 1e6)), max_size=200))
def test_each_time_that_was_added_stays_expired_and_the_ranges_are_bounded(expired: list[tuple[int, float]]) -> None:
    ranges = ExpiredRanges(WINDOW)
    for created, since in expired:
        ranges.add(created, since)
    assert all(created in ranges for created, _ in expired)
    assert len(list(ranges)) <= MAX_RANGES


def test_the_time_between_the_ranges_of_two_clocks_stays_open() -> None:
    ranges = ExpiredRanges(WINDOW)
    for seconds in range(100):
        ranges.add(1_000_000.0 + seconds, float(seconds))
        ranges.add(1_003_600.0 + seconds, float(seconds))
    assert len(list(ranges)) == 2
    assert 1_000_050.0 in ranges
    assert 1_003_650.0 in ranges
    assert 1_001_800.0 not in ranges
    assert 1_003_700.0 not in ranges


def test_the_two_closest_ranges_are_merged_beyond_the_limit() -> None:
    ranges = ExpiredRanges(WINDOW)
    for number in range(MAX_RANGES):
        ranges.add(number * 1_000.0, 0.0)
    ranges.add(number * 1_000.0 + 100.0, 0.0)
    assert len(list(ranges)) == MAX_RANGES
    assert number * 1_000.0 + 50.0 in ranges
    assert 500.0 not in ranges


def test_stored_ranges_are_extended() -> None:
    ranges = ExpiredRanges(WINDOW)
    ranges.add(100.0, 0.0)
    kept = ExpiredRanges(WINDOW, ranges)
    kept.add(110.0, 10.0)
    assert list(kept) == [(100.0, 100.0, 110.0)]
