"""The circuit breaker of a destination."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from audiohookd.delivery.retry import RETRY_AFTER_LIMIT, Backoff, Breaker, Probe


@pytest.fixture
def breaker() -> Breaker:
    return Breaker(Backoff(2.0, 300.0, lambda: 0.5))


class TestClosed:
    def test_it_admits_every_delivery(self, breaker: Breaker) -> None:
        assert all(breaker.admits(now) and breaker.begin() is None for now in (0.0, 0.0, 1.0))
        assert not breaker.is_open

    def test_a_pause_is_no_outage(self, breaker: Breaker) -> None:
        breaker.pause(5.0)
        assert [breaker.admits(now) for now in (4.9, 5.0)] == [False, True]
        assert not breaker.is_open
        assert breaker.begin() is None


class TestOpen:
    def test_admits_nothing_until_its_time_has_come(self, breaker: Breaker) -> None:
        breaker.fail(None, now=10.0)
        assert (breaker.is_open, breaker.until) == (True, 11.0)
        assert [breaker.admits(now) for now in (10.0, 10.9, 11.0)] == [False, False, True]

    def test_it_admits_one_probe_after_the_delay(self, breaker: Breaker) -> None:
        breaker.fail(None, now=10.0)
        assert breaker.begin() is not None
        assert not breaker.admits(1e9)

    def test_each_failed_probe_keeps_it_open_for_longer(self, breaker: Breaker) -> None:
        breaker.fail(None, now=0.0)
        waits = []
        for _ in range(10):
            now = breaker.until
            breaker.fail(breaker.begin(), now)
            waits.append(breaker.until - now)
        assert waits == [2, 4, 8, 16, 32, 64, 128, 150, 150, 150]
        assert breaker.is_open

    def test_a_success_closes_it_and_the_next_outage_begins_small(self, breaker: Breaker) -> None:
        breaker.fail(None, now=0.0)
        breaker.fail(breaker.begin(), now=1.0)
        breaker.close()
        assert breaker.admits(1.0)
        assert breaker.begin() is None
        breaker.fail(None, now=5.0)
        assert (breaker.is_open, breaker.until) == (True, 6.0)

    def test_a_probe_without_an_outcome_admits_another(self, breaker: Breaker) -> None:
        breaker.fail(None, now=0.0)
        breaker.release(breaker.begin())
        assert breaker.is_open
        assert breaker.admits(1.0)
        assert breaker.begin() is not None

    def test_an_earlier_delivery_that_fails_does_not_lengthen_the_backoff(self, breaker: Breaker) -> None:
        """A hundred uploads that fail together are one outage, not a hundred."""
        before = breaker.begin()
        for _ in range(100):
            breaker.fail(before, now=0.0)
        assert breaker.until == 1.0
        trial = breaker.begin()
        breaker.fail(before, now=1.0)
        assert not breaker.admits(2.0)
        breaker.fail(trial, now=1.0)
        assert breaker.until == 3.0

    def test_an_old_probe_does_not_end_the_current_one(self, breaker: Breaker) -> None:
        breaker.fail(None, now=0.0)
        old = breaker.begin()
        breaker.close()
        breaker.fail(None, now=5.0)
        present = breaker.begin()
        breaker.release(old)
        breaker.fail(old, now=6.0)
        assert breaker.is_current(present)
        assert not breaker.admits(1e9)


class TestRetryAfter:
    def test_the_breaker_honours_it(self, breaker: Breaker) -> None:
        breaker.fail(None, now=0.0, retry_after=30.0)
        assert breaker.until == 30.0

    def test_the_backoff_is_the_minimum(self, breaker: Breaker) -> None:
        breaker.fail(None, now=0.0, retry_after=0.1)
        assert breaker.until == 1.0

    def test_of_a_late_failure_counts_too(self, breaker: Breaker) -> None:
        breaker.fail(None, now=0.0)
        breaker.fail(None, now=0.0, retry_after=20.0)
        assert breaker.until == 20.0

    @given(st.floats() | st.sampled_from([math.inf, -math.inf, math.nan]))
    def test_an_absurd_value_is_capped_or_ignored(self, asked: float) -> None:
        breaker = Breaker(Backoff(2.0, 300.0, lambda: 0.5))
        breaker.fail(None, now=0.0, retry_after=asked)
        assert 1.0 <= breaker.until <= RETRY_AFTER_LIMIT


class Outlets(RuleBasedStateMachine):
    """Many deliveries share one breaker, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(Backoff(1.0, 60.0, lambda: 0.5))
        self.now = 0.0
        self.plain = 0
        self.trials: list[Probe] = []
        self.trials_since_open = 0

    @rule(seconds=st.floats(min_value=0.0, max_value=100.0))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.breaker.admits(self.now))
    @rule()
    def begin(self) -> None:
        was_open = self.breaker.is_open
        trial = self.breaker.begin()
        assert (trial is not None) == was_open
        if trial is None:
            self.plain += 1
        else:
            assert not any(map(self.breaker.is_current, self.trials)), "two trials at a time"
            self.trials.append(trial)

    @precondition(lambda self: self.plain or self.trials)
    @rule(data=st.data(), outcome=st.sampled_from(["success", "failure", "nothing"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        candidates: list[Probe | None] = [*self.trials, *([None] if self.plain else [])]
        ended = data.draw(st.sampled_from(candidates))
        if ended is None:
            self.plain -= 1
        else:
            self.trials.remove(ended)
        if outcome == "success":
            self.breaker.close()
            assert self.breaker.admits(self.now)
        elif outcome == "failure":
            self.breaker.fail(ended, self.now)
            assert self.breaker.is_open
        else:
            self.breaker.release(ended)

    @invariant()
    def it_is_never_stuck(self) -> None:
        """With no probe in flight, a delivery may begin once the longest backoff has passed."""
        if not any(map(self.breaker.is_current, self.trials)):
            assert self.breaker.admits(self.now + 60.0)


TestInAnyOrder = Outlets.TestCase
