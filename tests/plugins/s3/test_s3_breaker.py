"""When uploads to an unavailable bucket are retried."""

from hypothesis import given
from hypothesis import strategies as st

from audiohookd_plugins.s3.breaker import FIRST_REST, LONGEST_REST, LONGEST_RETRY_AFTER, Breaker

T0 = 1000.0


def down(at: float = T0) -> Breaker:
    breaker = Breaker()
    breaker.failed(at)
    return breaker


def trial(breaker: Breaker, at: float) -> bool:
    """A failed attempt; False when none is allowed."""
    if not breaker.admits(at):
        return False
    breaker.failed(at)
    return True


def test_while_it_works_everything_goes() -> None:
    breaker = Breaker()
    assert [breaker.admits(T0) for _ in range(3)] == [True] * 3
    assert breaker.down_for(T0) == 0.0


def test_after_a_failure_it_rests() -> None:
    breaker = down()
    assert not breaker.admits(T0)
    assert not breaker.admits(T0 + FIRST_REST - 0.1)
    assert breaker.admits(T0 + FIRST_REST)


def test_one_try_at_a_time() -> None:
    breaker = down()
    assert breaker.admits(T0 + FIRST_REST)
    assert not breaker.admits(T0 + FIRST_REST + 1000)
    breaker.given_up()
    assert breaker.admits(T0 + FIRST_REST + 1000)


def test_the_rest_doubles_with_each_try() -> None:
    breaker = down()
    now, rests = T0, []
    for _ in range(9):
        rest = next(seconds for seconds in range(1000) if trial(breaker, now + seconds))
        now += rest
        rests.append(rest)
    assert rests == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_failures_of_what_was_under_way_do_not_count() -> None:
    breaker = down()
    for _ in range(7):
        breaker.failed(T0)
    assert breaker.admits(T0 + FIRST_REST)


def test_a_success_ends_it() -> None:
    breaker = down()
    assert trial(breaker, T0 + 5)
    assert breaker.admits(T0 + 15)
    breaker.worked()
    assert breaker.down_for(T0 + 16) == 0.0
    assert breaker.admits(T0 + 16)
    breaker.failed(T0 + 20)
    assert breaker.admits(T0 + 20 + FIRST_REST)


def test_it_is_down_since_its_first_failure() -> None:
    breaker = down()
    breaker.failed(T0 + 50)
    assert breaker.down_for(T0 + 60) == 60.0


def test_a_store_that_says_when_is_believed() -> None:
    breaker = Breaker()
    breaker.failed(T0, retry_after=120.0)
    assert not breaker.admits(T0 + 119)
    assert breaker.admits(T0 + 120)


def test_an_endless_retry_after_is_shortened() -> None:
    breaker = Breaker()
    breaker.failed(T0, retry_after=999_999.0)
    assert not breaker.admits(T0 + LONGEST_RETRY_AFTER - 1)
    assert breaker.admits(T0 + LONGEST_RETRY_AFTER)


@given(st.floats(0, 1e6), st.integers(0, 20))
def test_a_clock_that_is_set_back_does_not_keep_it_down(step: float, failures: int) -> None:
    breaker = down(1e7)
    for _ in range(failures):
        breaker.failed(1e7)
    back = 1e7 - 1 - step
    assert breaker.down_for(back) == 0.0
    assert breaker.admits(back)


@given(st.lists(st.integers(0, 1000), max_size=30))
def test_it_is_never_left_alone_for_longer_than_the_longest_rest(waits: list[int]) -> None:
    breaker, now = down(), T0
    for wait in waits:
        now += wait
        trial(breaker, now)
    assert breaker.admits(now + LONGEST_REST)
