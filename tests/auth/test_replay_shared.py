"""A shared store in a thread: its answers, and its timeout."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from audiohookd.auth.replay.shared import SharedReplayStore
from audiohookd.auth.replay.store import IReplayStore, MemoryReplayStore, StoreUnavailable, nonce_digest
from audiohookd.testing import MemoryWorkers

NOW = 1_700_000_000.0
TIMEOUT = 0.4


class Nonces:
    """All in a set, or down."""

    def __init__(self) -> None:
        self.entries: dict[bytes, float] = {}
        self.fault: Exception | None = None

    def add(self, entry: bytes, now: float) -> bool:
        if self.fault is not None:
            raise self.fault
        is_new = entry not in self.entries
        self.entries.setdefault(entry, now)
        return is_new


class Rig:
    def __init__(self, waiting: int = 100) -> None:
        self.clock = Clock()
        self.nonces = Nonces()
        self.workers = MemoryWorkers(waiting)
        self.store = SharedReplayStore(self.nonces, 16.0, self.workers, self.clock, TIMEOUT)

    def ask(self, nonce: str = "nonce") -> list[object]:
        """What the answer will be put into: a bool, or the exception."""
        answer: list[object] = []
        asked: Deferred[bool] = self.store.first_use("key", nonce, NOW)
        asked.addCallbacks(answer.append, lambda failure: answer.append(failure.value))
        return answer


def said(answer: list[object]) -> str:
    """Why the store was down."""
    (fault,) = answer
    assert isinstance(fault, StoreUnavailable)
    return str(fault)


def test_both_kinds_are_stores() -> None:
    for store in (Rig().store, MemoryReplayStore(16.0, Clock().seconds)):
        assert verifyObject(IReplayStore, store)
        assert store.window == 16.0


def test_a_nonce_is_new_once() -> None:
    rig = Rig()
    answers = [rig.ask("one"), rig.ask("one"), rig.ask("other")]
    assert answers == [[], [False], []]
    rig.workers.run()
    assert answers == [[True], [False], [True]]


def test_a_nonce_lost_by_the_store_is_not_new_for_its_daemon() -> None:
    """Its server's clock was set forward, or its file deleted."""
    rig = Rig()
    rig.ask("one")
    rig.workers.run()
    rig.nonces.entries.clear()
    again = rig.ask("one")
    rig.clock.advance(17.0)
    other = rig.ask("other")
    late = rig.ask("one")
    rig.workers.run()
    assert (again, other, late) == ([False], [False], [False])


def test_the_store_gets_only_a_hash_and_the_time() -> None:
    rig = Rig()
    rig.ask("nonce")
    rig.workers.run()
    assert rig.nonces.entries == {nonce_digest("key", "nonce"): NOW}


def test_nothing_stays_behind_an_answer() -> None:
    rig = Rig()
    rig.ask()
    rig.workers.run()
    assert rig.clock.getDelayedCalls() == []


def test_a_late_answer_times_out() -> None:
    rig = Rig()
    answer = rig.ask()
    rig.clock.advance(TIMEOUT - 0.01)
    assert answer == []
    rig.clock.advance(0.01)
    assert said(answer) == "timed out: no answer"


def test_an_expired_lookup_is_skipped() -> None:
    rig = Rig()
    late = rig.ask("late")
    rig.clock.advance(TIMEOUT)
    in_time = rig.ask("in time")
    rig.workers.run()
    assert said(late) == "timed out: no answer"
    assert in_time == [True]
    assert list(rig.nonces.entries) == [nonce_digest("key", "in time")]


def test_an_answer_after_the_timeout_is_ignored() -> None:
    rig = Rig()

    class Slow(Nonces):
        def add(self, entry: bytes, now: float) -> bool:
            rig.clock.advance(TIMEOUT)
            return super().add(entry, now)

    rig.store = SharedReplayStore(Slow(), 16.0, rig.workers, rig.clock, TIMEOUT)
    answer = rig.ask()
    rig.workers.run()
    assert said(answer) == "timed out: no answer"


def test_the_error_of_the_store_is_passed_on() -> None:
    rig = Rig()
    rig.nonces.fault = StoreUnavailable("connection refused")
    answer = rig.ask()
    rig.workers.run()
    assert said(answer) == "connection refused"


def test_a_full_pool_is_an_outage() -> None:
    rig = Rig(waiting=2)
    waiting = [rig.ask("1"), rig.ask("2")]
    assert said(rig.ask("3")) == "too many lookups wait for an answer"
    rig.workers.run()
    assert waiting == [[True], [True]]


def test_an_internal_error_is_no_outage() -> None:
    rig = Rig()
    rig.nonces.fault = ZeroDivisionError("oops")
    answer = rig.ask()
    rig.workers.run()
    (fault,) = answer
    assert isinstance(fault, ZeroDivisionError)


@pytest.mark.parametrize("nonce", ["", "\ud800", "x" * 100_000])
def test_any_nonce_has_a_fingerprint_of_32_bytes(nonce: str) -> None:
    assert len(nonce_digest("key", nonce)) == 32
    assert nonce_digest("key", nonce) != nonce_digest("other", nonce)
