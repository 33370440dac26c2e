"""Exponential backoff with full jitter."""

from hypothesis import given
from hypothesis import strategies as st

from audiohookd.delivery.retry import Backoff

seconds = st.floats(min_value=1e-6, max_value=86_400.0)
chance = st.floats(min_value=0.0, max_value=1.0, exclude_max=True)


@given(seconds, seconds, chance, st.integers(min_value=0, max_value=10**9))
def test_no_delay_is_out_of_bounds(first: float, limit: float, drawn: float, failures: int) -> None:
    delay = Backoff(first, limit, lambda: drawn).delay(failures)
    assert 0 <= delay <= limit
    assert delay <= first * 2.0 ** min(failures, 900)


@given(chance)
def test_the_bound_doubles_up_to_the_limit(drawn: float) -> None:
    backoff = Backoff(1.0, 300.0, lambda: drawn)
    bounds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert [backoff.delay(failures) for failures in range(11)] == [drawn * bound for bound in bounds]


def test_all_of_the_time_up_to_the_bound_is_used() -> None:
    """Full jitter: not a bit more or less than the bound, but anything."""
    draws = iter([0.0, 0.25, 0.999])
    backoff = Backoff(4.0, 300.0, lambda: next(draws))
    assert [backoff.delay(0) for _ in range(3)] == [0.0, 1.0, 3.996]


def test_a_year_of_failures_overflows_nothing() -> None:
    assert Backoff(3600.0, 86_400.0, lambda: 0.5).delay(10**12) == 43_200.0
