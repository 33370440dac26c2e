"""The adaptive interval between commits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.spool.write.commit_interval import MAX_MARGIN, MIN_MARGIN, CommitInterval

FLUSH = 0.5


def test_the_first_interval_is_cautious() -> None:
    assert CommitInterval(FLUSH).margin == pytest.approx(MAX_MARGIN * FLUSH)


def test_quick_commits_lengthen_the_interval() -> None:
    pace = CommitInterval(FLUSH)
    for _ in range(100):
        pace.observe(0.01)
    assert pace.period == pytest.approx((1 - MIN_MARGIN) * FLUSH)


def test_one_slow_commit_is_remembered() -> None:
    pace = CommitInterval(FLUSH)
    for seconds in (*[0.01] * 100, 0.06, *[0.01] * 3):
        pace.observe(seconds)
    assert pace.period == pytest.approx((1 - MAX_MARGIN) * FLUSH, rel=0.1)


@given(st.lists(st.floats(0, 10), max_size=50), st.floats(0.05, 60))
def test_audio_is_written_in_time_if_commits_stay_as_quick(commits: list[float], flush: float) -> None:
    pace = CommitInterval(flush)
    for seconds in commits:
        pace.observe(seconds)
    assert pace.period > 0
    assert pace.period + pace.margin == pytest.approx(flush)
    assert MIN_MARGIN * flush <= pace.margin <= MAX_MARGIN * flush * (1 + 1e-9)
    slowest = max(commits[-3:], default=0.0)
    assert pace.margin >= min(MAX_MARGIN * flush, 2 * slowest) * (1 - 1e-9)
