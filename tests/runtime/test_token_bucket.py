"""Token buckets: what they let through in any stretch of time, and what they keep."""

from hypothesis import given
from hypothesis import strategies as st

from audiohookd.runtime.token_bucket import KeyedTokenBuckets, PrepaidTokens, Rate, TokenBucket

PAUSES = st.lists(st.floats(0, 5), max_size=60)


def times(pauses: list[float]) -> list[float]:
    at, found = 0.0, []
    for pause in pauses:
        at += pause
        found.append(at)
    return found


@given(st.floats(0.1, 20), st.integers(1, 20), PAUSES)
def test_no_stretch_of_time_lets_through_more_than_its_share_and_the_depth(
    per_second: float, depth: int, pauses: list[float]
) -> None:
    bucket = TokenBucket(Rate(per_second, depth), 0.0)
    through = [at for at in times(pauses) if bucket.take(at)]
    for start, first in enumerate(through):
        for end, last in enumerate(through[start:], start):
            assert end - start + 1 <= depth + (last - first) * per_second + 1e-6


@given(st.integers(1, 20), st.integers(1, 20))
def test_a_client_within_the_rate_is_never_limited(per_second: int, depth: int) -> None:
    bucket = TokenBucket(Rate(per_second, depth), 0.0)
    assert all(bucket.take(number / per_second + number * 1e-9) for number in range(200))


def test_a_refund_never_exceeds_the_size_of_the_bucket() -> None:
    bucket = TokenBucket(Rate(1, 2), 0.0)
    bucket.refund()
    assert [bucket.take(0.0) for _ in range(3)] == [1, 1, 0]
    bucket.refund()
    assert [bucket.take(0.0) for _ in range(2)] == [1, 0]


class TestBuckets:
    def test_each_key_has_its_own_bucket(self) -> None:
        buckets = KeyedTokenBuckets(Rate(1, 1), 10)
        assert [buckets.take(who, 0.0) for who in "aabb"] == [True, False, True, False]

    def test_forget_who_came_longest_ago(self) -> None:
        buckets = KeyedTokenBuckets(Rate(1, 1), 2)
        assert [buckets.take(who, 0.0) for who in "ab"] == [True, True]
        assert not buckets.take("a", 0.0)  # and is the latest
        assert buckets.take("c", 0.0)
        assert not buckets.take("a", 0.0)
        assert buckets.take("b", 0.0)
        assert len(buckets) == 2

    @given(st.lists(st.integers()))
    def test_never_are_more_than_there_are_places(self, visitors: list[int]) -> None:
        buckets = KeyedTokenBuckets(Rate(1, 1), 3)
        for who in visitors:
            buckets.take(who, 0.0)
            assert len(buckets) <= 3

    def test_take_back_harmlessly_what_they_have_forgotten(self) -> None:
        buckets = KeyedTokenBuckets(Rate(1, 1), 1)
        buckets.take("a", 0.0)
        buckets.take("b", 0.0)
        buckets.refund("a")
        buckets.refund("b")
        assert buckets.take("b", 0.0)


def spend(allowance: PrepaidTokens, now: float) -> bool:
    """Counts as a caller does."""
    allowance.left -= 1
    return allowance.left >= 0 or allowance.renew(now)


class TestAllowance:
    @given(st.integers(1, 20), st.integers(1, 20), PAUSES)
    def test_lets_through_what_a_bucket_would_to_within_a_portion(
        self, per_second: int, seconds: int, pauses: list[float]
    ) -> None:
        allowance = PrepaidTokens(Rate(per_second, per_second * seconds), 0.0)
        through = [at for at in times(pauses) if spend(allowance, at)]
        for start, first in enumerate(through):
            share = (through[-1] - first) * per_second
            assert len(through) - start <= per_second * seconds + share + per_second + 1e-6

    def test_looks_at_the_clock_once_in_a_second_s_worth(self) -> None:
        allowance = PrepaidTokens(Rate(100, 1000), 0.0)
        looks = 0
        for _ in range(1000):
            allowance.left -= 1
            if allowance.left < 0:
                looks += 1
                assert allowance.renew(0.0)
        assert looks == 10
        assert not spend(allowance, 0.0)
        assert spend(allowance, 1.0)

    def test_of_no_rate_has_no_end(self) -> None:
        allowance = PrepaidTokens(None, 0.0)
        assert all(spend(allowance, 0.0) for _ in range(10_000))

    def test_indulges_for_a_goodbye(self) -> None:
        allowance = PrepaidTokens(Rate(2, 2), 0.0)
        assert [spend(allowance, 0.0) for _ in range(3)] == [True, True, False]
        allowance.grant_grace()
        assert [spend(allowance, 0.0) for _ in range(11)] == [True] * 10 + [False]

    def test_counts_by_cost_as_well(self) -> None:
        allowance = PrepaidTokens(Rate(100, 1000), 0.0)

        def passes(cost: int, now: float) -> bool:
            allowance.left -= cost
            return allowance.left >= 0 or allowance.renew(now)

        assert passes(900, 0.0)
        assert passes(100, 0.0)
        assert not passes(1, 0.0)
        assert not passes(150, 1.0), "it cost what had come in"
        assert not passes(1, 1.0)
        assert passes(100, 2.0)
