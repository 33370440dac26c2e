"""Protocol section 2.5: a nonce works once, for as long as its signature would verify."""

import pytest
from foreign_signer import CREATED, SECRET, signed
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from audiohookd.auth.refusal import SignatureRefused
from audiohookd.auth.replay import MemoryReplayStore, replay_window
from audiohookd.auth.signature import verify

NOW = 1_700_000_000.0
WINDOW = 16.0


class Rig:
    """A store, the clock that nobody sets, and the wall clock."""

    def __init__(self, limit: int = 3) -> None:
        self.clock = Clock()
        self.ahead = 0.0
        self.store = MemoryReplayStore(WINDOW, self.clock.seconds, limit)

    def is_new(self, nonce: str, key: str = "key") -> bool:
        return self.store.first_use(key, nonce, NOW + self.clock.seconds() + self.ahead)


@pytest.fixture
def rig() -> Rig:
    return Rig()


class TestNonces:
    def test_are_new_once(self, rig: Rig) -> None:
        assert rig.is_new("nonce")
        assert not rig.is_new("nonce")
        rig.clock.advance(1)
        assert not rig.is_new("nonce")

    def test_of_each_key_are_their_own(self, rig: Rig) -> None:
        assert rig.is_new("nonce")
        assert rig.is_new("nonce", "other")
        assert rig.is_new("other")

    def test_are_remembered_for_the_whole_window(self, rig: Rig) -> None:
        rig.is_new("nonce")
        rig.clock.advance(WINDOW)
        assert not rig.is_new("nonce")

    def test_are_forgotten_after_it(self, rig: Rig) -> None:
        rig.is_new("nonce")
        rig.clock.advance(WINDOW + 0.001)
        assert rig.is_new("nonce")
        assert len(rig.store) == 1

    def test_a_repeat_does_not_prolong_it(self, rig: Rig) -> None:
        rig.is_new("nonce")
        rig.clock.advance(15)
        rig.is_new("nonce")
        rig.clock.advance(2)
        assert rig.is_new("nonce")

    def test_may_be_any_text(self, rig: Rig) -> None:
        assert rig.is_new("\ud800", "")
        assert not rig.is_new("\ud800", "")


class TestLimit:
    def test_when_full_every_further_nonce_counts_as_used(self, rig: Rig) -> None:
        assert all(rig.is_new(nonce) for nonce in "abc")
        rig.clock.advance(WINDOW)
        assert not rig.is_new("d")
        assert not rig.is_new("a")
        assert len(rig.store) == 3

    def test_room_is_made_by_time(self, rig: Rig) -> None:
        for nonce in "abc":
            rig.is_new(nonce)
            rig.clock.advance(1)
        rig.clock.advance(13.5)
        assert rig.is_new("d")
        assert not rig.is_new("e")
        rig.clock.advance(80)
        assert rig.is_new("e")
        assert len(rig.store) == 1

    def test_holds_for_memory_too(self) -> None:
        rig = Rig(limit=100_000)
        for number in range(200_000):
            rig.is_new(str(number))
            rig.clock.advance(0.0001)
        assert len(rig.store) == 100_000


class TestAWallClock:
    """That is set, by an hour or by less, while a signature would still verify, or until it would again."""

    @pytest.mark.parametrize("ahead", [30.0, 3600.0])
    def test_set_forward_and_back_again_makes_no_nonce_new(self, rig: Rig, ahead: float) -> None:
        rig.is_new("a")
        rig.ahead = ahead
        assert rig.is_new("b")
        rig.clock.advance(10)
        rig.ahead = 0.0
        assert not rig.is_new("a")
        assert not rig.is_new("b")

    @pytest.mark.parametrize("behind", [30.0, 3600.0])
    def test_set_back_comes_to_the_same_time_again(self, rig: Rig, behind: float) -> None:
        rig.is_new("a")
        rig.ahead = -behind
        rig.clock.advance(behind)
        assert not rig.is_new("a")
        rig.clock.advance(WINDOW + 1)
        assert rig.is_new("a")

    def test_that_was_ahead_holds_up_no_others(self, rig: Rig) -> None:
        rig.ahead = 3600.0
        rig.is_new("from the future")
        rig.ahead = 0.0
        for number in range(100):
            assert rig.is_new(str(number))
            rig.clock.advance(WINDOW + 1)
        assert len(rig.store) == 2
        assert not rig.is_new("from the future")

    @given(
        steps=st.lists(st.tuples(st.integers(0, 3), st.floats(0, 20), st.sampled_from([0, 0, 60, -60])), max_size=40)
    )
    def test_never_makes_a_nonce_new_before_both_clocks_have_passed_it(
        self, steps: list[tuple[int, float, float]]
    ) -> None:
        rig, used = Rig(limit=100), dict[int, tuple[float, float]]()
        for nonce, seconds, ahead in steps:
            rig.clock.advance(seconds)
            rig.ahead = ahead
            now = rig.clock.seconds()
            used = {
                other: (since, seen)
                for other, (since, seen) in used.items()
                if now - since <= WINDOW or now + ahead - seen <= WINDOW
            }
            if rig.is_new(str(nonce)):
                assert nonce not in used
                used[nonce] = now, now + ahead


class TestWindow:
    def test_is_age_and_skew_in_both_directions(self) -> None:
        assert replay_window(10, 3) == 16

    @given(first=st.floats(-20, 20), again=st.floats(0, 40))
    def test_outlasts_every_signature(self, first: float, again: float) -> None:
        clock = Clock()
        store = MemoryReplayStore(replay_window(10, 3), clock.seconds)

        def accepted(now: float) -> bool:
            try:
                signature = verify(signed(), SECRET, now)
            except SignatureRefused:
                return False
            return store.first_use(signature.keyid, signature.nonce, now)

        once = accepted(CREATED + first)
        clock.advance(again)
        assert once + accepted(CREATED + first + again) <= 1
