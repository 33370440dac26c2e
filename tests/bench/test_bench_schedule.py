"""Who is due when."""

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.generator.schedule import Ring, Row, Stretch

phases = st.lists(st.floats(0, 0.199), min_size=1, max_size=12)


@given(phases, st.integers(1, 40), st.data())
def test_everybody_is_due_once_a_period_whenever_that_is_asked(
    members: list[float], periods: int, data: st.DataObject
) -> None:
    end = 100.0 + 0.2 * periods - 1e-6  # just before the next period begins
    asked = sorted(data.draw(st.lists(st.floats(100.0, end), max_size=10)))
    ring = Ring(100.0, 0.2, members)
    seen = [member for now in (*asked, end) for member in _members(ring, ring.due(now))]
    assert [Counter(seen)[member] for member in range(len(members))] == [periods] * len(members)
    assert seen == seen[: len(members)] * periods
    assert [members[member] for member in seen[: len(members)]] == sorted(members)


@given(phases, st.floats(99, 101))
def test_who_is_due_was_so_by_now_and_is_told_since_when(members: list[float], now: float) -> None:
    ring = Ring(100.0, 0.2, members)
    for stretch in ring.due(now):
        first, *_, last = [members[member] for member in ring.members[stretch.start : stretch.end]] * 2
        rounds = (stretch.since - 100.0 - first) / 0.2
        assert rounds == pytest.approx(round(rounds), abs=1e-6)
        assert stretch.since + last - first <= now + 1e-9
    assert ring.due(now) == []


def test_an_hour_of_frames_ends_to_the_microsecond() -> None:
    ring = Ring(1000.0, 0.02, [0.013])
    *_, last = ring.due(1000.0 + 3600)
    assert last.since == pytest.approx(1000.0 + 0.013 + 3600 - 0.02, abs=1e-6)


def test_a_row_is_due_once() -> None:
    row = Row(10.0, 0.5, 3)
    assert list(row.due(9.9)) == []
    assert list(row.due(10.6)) == [0, 1]
    assert list(row.due(1e9)) == [2]
    assert list(row.due(1e9)) == []


def test_an_empty_row_is_never_due() -> None:
    assert list(Row(0.0, 1.0, 0).due(1e9)) == []


def _members(ring: Ring, stretches: Iterable[Stretch]) -> list[int]:
    return [member for start, end, _ in stretches for member in ring.members[start:end]]
