"""When the next commit begins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.spool.pace import BOLD, CAUTIOUS, Pace

FLUSH = 0.5


def test_nothing_is_known_at_the_start() -> None:
    assert Pace(FLUSH).margin == pytest.approx(CAUTIOUS * FLUSH)


def test_quick_commits_may_be_further_apart() -> None:
    pace = Pace(FLUSH)
    for _ in range(100):
        pace.took(0.01)
    assert pace.period == pytest.approx((1 - BOLD) * FLUSH)


def test_one_slow_commit_is_remembered() -> None:
    pace = Pace(FLUSH)
    for seconds in (*[0.01] * 100, 0.06, *[0.01] * 3):
        pace.took(seconds)
    assert pace.period == pytest.approx((1 - CAUTIOUS) * FLUSH, rel=0.1)


@given(st.lists(st.floats(0, 10), max_size=50), st.floats(0.05, 60))
def test_what_is_given_before_a_commit_as_quick_as_those_before_is_written_in_time(
    commits: list[float], flush: float
) -> None:
    pace = Pace(flush)
    for seconds in commits:
        pace.took(seconds)
    assert pace.period > 0
    assert pace.period + pace.margin == pytest.approx(flush)
    assert BOLD * flush <= pace.margin <= CAUTIOUS * flush * (1 + 1e-9)
    slowest = max(commits[-3:], default=0.0)
    assert pace.margin >= min(CAUTIOUS * flush, 2 * slowest) * (1 - 1e-9)
