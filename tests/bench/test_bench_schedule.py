"""Schedules make each member due at its time, once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.generator.schedule import PeriodicSchedule, SequenceSchedule

phases = st.lists(st.floats(0, 0.199), min_size=1, max_size=12)


@given(phases, st.integers(1, 40), st.data())
def test_every_member_is_due_once_per_period_at_any_polling_times(
    members: list[float], periods: int, data: st.DataObject
) -> None:
    end = 100.0 + 0.2 * periods - 1e-6  # just before the next period begins
    asked = sorted(data.draw(st.lists(st.floats(100.0, end), max_size=10)))
    schedule = PeriodicSchedule(100.0, 0.2, members)
    seen = [member for now in (*asked, end) for member in schedule.due(now)]
    first = seen[: len(members)]
    assert sorted(first) == list(range(len(members)))
    assert [members[member] for member in first] == sorted(members)
    assert seen == first * periods


@given(phases, st.floats(99, 101))
def test_a_member_is_due_once_and_not_early(members: list[float], now: float) -> None:
    schedule = PeriodicSchedule(100.0, 0.2, members)
    assert schedule.next == 100.0 + min(members)
    count = len(schedule.due(now))
    assert schedule.due(now) == []
    assert schedule.next > now
    rounds, slot = divmod(count, len(members))
    assert schedule.next == pytest.approx(100.0 + 0.2 * rounds + sorted(members)[slot])


def test_an_hour_accumulates_no_error_of_a_microsecond() -> None:
    schedule = PeriodicSchedule(1000.0, 0.02, [0.013])
    schedule.due(1000.0 + 3600 - 0.01)
    assert schedule.next == pytest.approx(1000.0 + 0.013 + 3600 - 0.02, abs=1e-6)


def test_each_member_of_a_sequence_is_due_once() -> None:
    schedule = SequenceSchedule(10.0, 0.5, 3)
    assert list(schedule.due(9.9)) == []
    assert list(schedule.due(10.6)) == [0, 1]
    assert list(schedule.due(1e9)) == [2]
    assert list(schedule.due(1e9)) == []


def test_an_empty_sequence_is_never_due() -> None:
    assert list(SequenceSchedule(0.0, 1.0, 0).due(1e9)) == []
