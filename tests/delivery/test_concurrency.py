"""The concurrency limit: as many deliveries as configured, unless calls suffer."""

from hypothesis import given
from hypothesis import strategies as st

from audiohookd.delivery.concurrency import (
    BUSY_INTERVAL,
    MAX_LATENCY,
    MIN_CONCURRENCY,
    RAISE_INTERVAL,
    ConcurrencyLimit,
)


def filled(lanes: ConcurrencyLimit, in_flight: int, now: float) -> int:
    """How many are under way when as many begin as may."""
    while lanes.admits(in_flight, now):
        in_flight += 1
    return in_flight


def test_begins_with_few() -> None:
    assert filled(ConcurrencyLimit(8), 0, now=100.0) == MIN_CONCURRENCY
    assert filled(ConcurrencyLimit(1), 0, now=100.0) == 1


def test_one_more_each_second_until_there_are_as_many_as_asked_for() -> None:
    lanes, in_flight, seen = ConcurrencyLimit(5), 0, []
    for second in range(6):
        in_flight = filled(lanes, in_flight, now=100 + second * RAISE_INTERVAL)
        seen.append(in_flight)
    assert seen == [2, 3, 4, 5, 5, 5]
    assert lanes.next_slot_at(5) is None


def test_half_of_them_end_when_calls_suffer() -> None:
    lanes = ConcurrencyLimit(8)
    for second in range(7):
        filled(lanes, min(second, 1), now=100 + second * RAISE_INTERVAL)
    lanes.record_latency(2 * MAX_LATENCY, now=107.0)
    assert filled(lanes, 1, now=107.0) == 4
    lanes.record_latency(MAX_LATENCY / 2, now=107.5)
    assert filled(lanes, 1, now=107.5) == 4
    lanes.record_latency(2 * MAX_LATENCY, now=107.5)
    lanes.record_latency(2 * MAX_LATENCY, now=107.5)
    assert filled(lanes, 1, now=107.5 + RAISE_INTERVAL / 2) == MIN_CONCURRENCY


def test_a_reactor_that_is_always_late_still_raises_the_minimum() -> None:
    lanes, seen = ConcurrencyLimit(5), []
    assert lanes.admits(0, 100.0)
    for second in range(1, 200):
        lanes.record_latency(2 * MAX_LATENCY, now=100.0 + second)
        seen.append(filled(lanes, 1, now=100.0 + second))
    assert seen[28] == MIN_CONCURRENCY
    assert [seen[int(BUSY_INTERVAL * part)] for part in (1, 2, 3, 4, 5, 6)] == [3, 4, 5, 5, 5, 5]


def test_when_nothing_was_under_way_it_begins_with_few_again() -> None:
    lanes = ConcurrencyLimit(8)
    for second in range(7):
        filled(lanes, 1, now=100 + second * RAISE_INTERVAL)
    assert filled(lanes, 0, now=200.0) == MIN_CONCURRENCY


Step = tuple[float, int, float | None]
steps = st.lists(st.tuples(st.floats(0, 3), st.integers(0, 12), st.one_of(st.none(), st.floats(0, 0.1))), max_size=60)


@given(st.integers(1, 12), steps)
def test_there_is_always_a_lane_and_never_one_too_many(most: int, steps: list[Step]) -> None:
    lanes, now = ConcurrencyLimit(most), 0.0
    for seconds, in_flight, late in steps:
        now += seconds
        assert lanes.admits(0, now)
        if late is not None:
            lanes.record_latency(late, now)
        assert in_flight < most or not lanes.admits(in_flight, now)


@given(st.integers(1, 12), st.integers(0, 12))
def test_opens_when_it_says(most: int, in_flight: int) -> None:
    lanes = ConcurrencyLimit(most)
    assert lanes.admits(0, 50.0)
    lanes.record_latency(2 * MAX_LATENCY, now=50.0)
    opens_at = lanes.next_slot_at(in_flight)
    if in_flight >= most:
        assert opens_at is None
    else:
        assert opens_at is None or opens_at <= 50.0 + RAISE_INTERVAL
        assert in_flight > MIN_CONCURRENCY or lanes.admits(in_flight, max(50.0, opens_at or 0.0))
