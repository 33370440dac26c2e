"""Who is due when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.generator.schedule import PeriodicSchedule, SequenceSchedule

phases = st.lists(st.floats(0, 0.199), min_size=1, max_size=12)


@given(phases, st.integers(1, 40), st.data())
def test_everybody_is_due_once_a_period_whenever_that_is_asked(
    members: list[float], periods: int, data: st.DataObject
) -> None:
    end = 100.0 + 0.2 * periods - 1e-6  # just before the next period begins
    asked = sorted(data.draw(st.lists(st.floats(100.0, end), max_size=10)))
    ring = PeriodicSchedule(100.0, 0.2, members)
    seen = [member for now in (*asked, end) for member in ring.due(now)]
    first = seen[: len(members)]
    assert sorted(first) == list(range(len(members)))
    assert [members[member] for member in first] == sorted(members)
    assert seen == first * periods


@given(phases, st.floats(99, 101))
def test_who_is_due_is_told_once_and_not_before_his_time(members: list[float], now: float) -> None:
    ring = PeriodicSchedule(100.0, 0.2, members)
    assert ring.next == 100.0 + min(members)
    told = len(ring.due(now))
    assert ring.due(now) == []
    assert ring.next > now
    rounds, slot = divmod(told, len(members))
    assert ring.next == pytest.approx(100.0 + 0.2 * rounds + sorted(members)[slot])


def test_an_hour_ends_to_the_microsecond() -> None:
    ring = PeriodicSchedule(1000.0, 0.02, [0.013])
    ring.due(1000.0 + 3600 - 0.01)
    assert ring.next == pytest.approx(1000.0 + 0.013 + 3600 - 0.02, abs=1e-6)


def test_a_row_is_due_once() -> None:
    row = SequenceSchedule(10.0, 0.5, 3)
    assert list(row.due(9.9)) == []
    assert list(row.due(10.6)) == [0, 1]
    assert list(row.due(1e9)) == [2]
    assert list(row.due(1e9)) == []


def test_an_empty_row_is_never_due() -> None:
    assert list(SequenceSchedule(0.0, 1.0, 0).due(1e9)) == []
