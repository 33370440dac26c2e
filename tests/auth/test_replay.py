"""Protocol section 2.5: a nonce is accepted once, for as long as its signature would verify."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from audiohookd.auth.rejection import SignatureRejected
from audiohookd.auth.replay.expired_ranges import MAX_RANGES, ExpiredRanges
from audiohookd.auth.replay.store import MemoryReplayStore, replay_window
from audiohookd.auth.signature.message_signature import verify
from tests.auth.foreign_signer import CREATED, SECRET, signed

NOW = 1_700_000_000.0
WINDOW = 16.0


class Rig:
    """A store with a monotonic clock and a wall clock. A nonce keeps the ``created`` of its first use."""

    def __init__(self, limit: int = 3) -> None:
        self.clock = Clock()
        self.ahead = 0.0
        self.created: dict[tuple[str, str], float] = {}
        self.store = MemoryReplayStore(WINDOW, self.clock.seconds, limit)

    def is_new(self, nonce: str, key: str = "key") -> bool:
        created = self.created.setdefault((key, nonce), NOW + self.clock.seconds() + self.ahead)
        return self.store.first_use(key, nonce, created)


@pytest.fixture
def rig() -> Rig:
    return Rig()


class TestNonces:
    def test_nonce_is_new_once(self, rig: Rig) -> None:
        assert rig.is_new("nonce")
        assert not rig.is_new("nonce")
        rig.clock.advance(1)
        assert not rig.is_new("nonce")

    def test_each_key_has_its_own_nonces(self, rig: Rig) -> None:
        assert rig.is_new("nonce")
        assert rig.is_new("nonce", "other")
        assert rig.is_new("other")

    def test_nonce_is_stored_for_the_whole_window(self, rig: Rig) -> None:
        rig.is_new("nonce")
        rig.clock.advance(WINDOW)
        assert not rig.is_new("nonce")

    def test_expired_nonce_is_freed_and_not_new(self, rig: Rig) -> None:
        rig.is_new("nonce")
        rig.clock.advance(WINDOW + 0.001)
        assert rig.is_new("other")
        assert len(rig.store) == 1
        assert not rig.is_new("nonce")

    def test_a_repeat_does_not_extend_the_window(self, rig: Rig) -> None:
        rig.is_new("nonce")
        rig.clock.advance(15)
        rig.is_new("nonce")
        rig.clock.advance(2)
        rig.is_new("other")
        assert len(rig.store) == 1

    def test_nonce_may_be_any_text(self, rig: Rig) -> None:
        assert rig.is_new("\ud800", "")
        assert not rig.is_new("\ud800", "")


class TestLimit:
    def test_when_full_every_further_nonce_counts_as_used(self, rig: Rig) -> None:
        assert all(rig.is_new(nonce) for nonce in "abc")
        rig.clock.advance(WINDOW)
        assert not rig.is_new("d")
        assert not rig.is_new("a")
        assert len(rig.store) == 3

    def test_a_full_store_has_room_after_the_window(self, rig: Rig) -> None:
        for nonce in "abc":
            rig.is_new(nonce)
            rig.clock.advance(1)
        rig.clock.advance(13.5)
        assert rig.is_new("d")
        assert not rig.is_new("e")
        rig.clock.advance(80)
        assert rig.is_new("f")
        assert len(rig.store) == 1

    def test_the_limit_bounds_the_memory(self) -> None:
        rig = Rig(limit=100_000)
        for number in range(200_000):
            rig.is_new(str(number))
            rig.clock.advance(0.0001)
        assert len(rig.store) == 100_000


class TestWallClock:
    """That is set, by any amount, while a signature would still verify or long after."""

    @pytest.mark.parametrize("ahead", [-3600.0, -30.0, 30.0, 3600.0])
    def test_setting_the_clock_makes_no_nonce_new(self, rig: Rig, ahead: float) -> None:
        rig.is_new("a")
        rig.ahead = ahead
        assert rig.is_new("b")
        rig.clock.advance(WINDOW + 1)
        rig.ahead = 0.0
        assert rig.is_new("c")
        assert not rig.is_new("a")
        assert not rig.is_new("b")

    def test_repeated_time_makes_no_nonce_new(self, rig: Rig) -> None:
        rig.is_new("a")
        rig.clock.advance(3600)
        rig.is_new("b")
        assert not rig.is_new("a")

    def test_corrected_clock_rejects_no_call(self, rig: Rig) -> None:
        """Calls that were signed while it was ahead, by the same clock, have expired."""
        rig.is_new("before")
        rig.ahead = 3600.0
        for number in range(10):
            rig.is_new(f"ahead {number}")
            rig.clock.advance(WINDOW + 1)
        rig.ahead = 0.0
        for number in range(100):
            assert rig.is_new(f"after {number}")
            rig.clock.advance(WINDOW + 1)
        assert not rig.is_new("ahead 0")

    @given(
        steps=st.lists(
            st.tuples(
                st.integers(0, 5),
                st.floats(0, 20),
                st.sampled_from([0.0, 2.0, -2.0, 60.0, -60.0, 3600.0, -3600.0, 1e7]),
            ),
            max_size=60,
        )
    )
    def test_clock_set_at_any_time_makes_no_nonce_new(self, steps: list[tuple[int, float, float]]) -> None:
        rig, used = Rig(limit=100), set[int]()
        for nonce, seconds, ahead in steps:
            rig.clock.advance(seconds)
            rig.ahead = ahead
            if rig.is_new(str(nonce)):
                assert nonce not in used
                used.add(nonce)


class TestExpiredRanges:
    def test_a_clock_that_is_never_set_has_one_range(self) -> None:
        ranges = ExpiredRanges(WINDOW)
        for second in range(0, 100_000, 100):
            ranges.add(NOW + second + second % 13 - 10, float(second))
        assert len(list(ranges)) == 1

    def test_a_step_leaves_the_time_between_open(self) -> None:
        ranges = ExpiredRanges(WINDOW)
        ranges.add(100.0, 100.0)
        ranges.add(3800.0, 200.0)
        ranges.add(110.0, 110.0)
        assert all(second in ranges for second in (100, 105, 110, 3800))
        assert not any(second in ranges for second in (99, 111, 3799, 3801))

    @given(added=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=300))
    def test_ranges_are_bounded_and_complete(self, added: list[tuple[int, int]]) -> None:
        ranges = ExpiredRanges(WINDOW)
        for created, since in added:
            ranges.add(created, since)
        assert len(list(ranges)) <= MAX_RANGES
        assert all(created in ranges for created, _ in added)

    def test_the_closest_ranges_are_merged(self) -> None:
        ranges = ExpiredRanges(WINDOW)
        for number in range(MAX_RANGES - 1):
            ranges.add(1000.0 * number, 0.0)
        ranges.add(1e9, 0.0)
        ranges.add(1e9 + 20, 0.0)
        assert len(list(ranges)) == MAX_RANGES
        assert 1e9 + 10 in ranges
        assert 500.0 not in ranges


class TestWindow:
    def test_window_is_age_and_skew_in_both_directions(self) -> None:
        assert replay_window(10, 3) == 16

    @given(first=st.floats(-20, 20), again=st.floats(0, 40), step=st.floats(-60, 60))
    def test_window_outlasts_every_signature(self, first: float, again: float, step: float) -> None:
        clock = Clock()
        store = MemoryReplayStore(replay_window(10, 3), clock.seconds)

        def accepted(now: float) -> bool:
            try:
                signature = verify(signed(), SECRET, now)
            except SignatureRejected:
                return False
            return store.first_use(signature.keyid, signature.nonce, signature.created)

        once = accepted(CREATED + first)
        clock.advance(again)
        assert once + accepted(CREATED + first + again + step) <= 1
