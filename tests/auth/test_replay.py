"""Protocol section 2.5: a nonce works once, for as long as its signature would verify."""

import pytest
from foreign_signer import CREATED, SECRET, signed
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.auth.refusal import SignatureRefused
from audiohookd.auth.replay import MemoryReplayStore, replay_window
from audiohookd.auth.signature import verify

NOW = 1_700_000_000.0


@pytest.fixture
def store() -> MemoryReplayStore:
    return MemoryReplayStore(window=16, limit=3)


class TestNonces:
    def test_are_new_once(self, store: MemoryReplayStore) -> None:
        assert store.first_use("key", "nonce", NOW)
        assert not store.first_use("key", "nonce", NOW)
        assert not store.first_use("key", "nonce", NOW + 1)

    def test_of_each_key_are_their_own(self, store: MemoryReplayStore) -> None:
        assert store.first_use("key", "nonce", NOW)
        assert store.first_use("other", "nonce", NOW)
        assert store.first_use("key", "other", NOW)

    def test_are_remembered_for_the_whole_window(self, store: MemoryReplayStore) -> None:
        store.first_use("key", "nonce", NOW)
        assert not store.first_use("key", "nonce", NOW + 16)

    def test_are_forgotten_after_it(self, store: MemoryReplayStore) -> None:
        store.first_use("key", "nonce", NOW)
        assert store.first_use("key", "nonce", NOW + 16.001)
        assert len(store) == 1

    def test_a_repeat_does_not_prolong_it(self, store: MemoryReplayStore) -> None:
        store.first_use("key", "nonce", NOW)
        store.first_use("key", "nonce", NOW + 15)
        assert store.first_use("key", "nonce", NOW + 17)

    def test_may_be_any_text(self, store: MemoryReplayStore) -> None:
        assert store.first_use("", "\ud800", NOW)
        assert not store.first_use("", "\ud800", NOW)


class TestLimit:
    def test_when_full_every_further_nonce_counts_as_used(self, store: MemoryReplayStore) -> None:
        assert all(store.first_use("key", nonce, NOW) for nonce in "abc")
        assert not store.first_use("key", "d", NOW + 16)
        assert not store.first_use("key", "a", NOW + 16)
        assert len(store) == 3

    def test_room_is_made_by_time(self, store: MemoryReplayStore) -> None:
        for moment, nonce in enumerate("abc"):
            store.first_use("key", nonce, NOW + moment)
        assert store.first_use("key", "d", NOW + 16.5)
        assert not store.first_use("key", "e", NOW + 16.5)
        assert store.first_use("key", "e", NOW + 100)
        assert len(store) == 1

    def test_holds_for_memory_too(self) -> None:
        store = MemoryReplayStore(window=16, limit=100_000)
        for number in range(200_000):
            store.first_use("key", str(number), NOW + number / 10_000)
        assert len(store) == 100_000


def test_a_clock_set_back_forgets_nothing_early(store: MemoryReplayStore) -> None:
    store.first_use("key", "a", NOW)
    assert store.first_use("key", "b", NOW - 3600)
    assert not store.first_use("key", "a", NOW - 3600)
    assert not store.first_use("key", "b", NOW - 3600 + 16)
    assert not store.first_use("key", "b", NOW + 16)  # later than needed: it waits for "a"
    assert store.first_use("key", "b", NOW + 17)


class TestWindow:
    def test_is_age_and_skew_in_both_directions(self) -> None:
        assert replay_window(10, 3) == 16

    @given(first=st.floats(-20, 20), again=st.floats(0, 40))
    def test_outlasts_every_signature(self, first: float, again: float) -> None:
        store = MemoryReplayStore(replay_window(10, 3))

        def accepted(now: float) -> bool:
            try:
                signature = verify(signed(), SECRET, now)
            except SignatureRefused:
                return False
            return store.first_use(signature.keyid, signature.nonce, now)

        assert accepted(CREATED + first) + accepted(CREATED + first + again) <= 1
