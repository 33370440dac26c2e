import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.generator.schedule import Ring, Row

phases = st.lists(st.floats(0, 0.2, exclude_max=True), min_size=1, max_size=12)


@given(phases, st.integers(1, 40))
def test_everybody_is_due_once_a_period(members: list[float], steps: int) -> None:
    ring = Ring(100.0, 0.2, members)
    seen: list[tuple[int, float]] = []
    for _ in range(len(members) * steps):
        seen.append((ring.member, ring.due))
        ring.advance()
    for member, phase in enumerate(members):
        own = [due for who, due in seen if who == member]
        assert own == pytest.approx([100.0 + phase + number * 0.2 for number in range(steps)])


@given(phases)
def test_nobody_is_due_before_who_came_before(members: list[float]) -> None:
    ring = Ring(0.0, 0.2, members)
    due = []
    for _ in range(3 * len(members)):
        due.append(ring.due)
        ring.advance()
    assert due == pytest.approx(sorted(due))


def test_an_hour_of_frames_ends_to_the_microsecond() -> None:
    ring = Ring(1000.0, 0.02, [0.013])
    for _ in range(180_000):
        ring.advance()
    assert ring.due == pytest.approx(1000.0 + 0.013 + 3600, abs=1e-6)


def test_a_row_is_due_once() -> None:
    row = Row(10.0, 0.5, 3)
    due = []
    for _ in range(4):
        due.append((row.member, row.due))
        row.advance()
    assert due == [(0, 10.0), (1, 10.5), (2, 11.0), (3, float("inf"))]


def test_an_empty_row_is_never_due() -> None:
    assert Row(0.0, 1.0, 0).due == float("inf")
