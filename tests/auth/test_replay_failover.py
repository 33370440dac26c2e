"""A replay store that is down: the decision for each request, the counter, and the log."""

from typing import Any, Literal

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent
from zope.interface import implementer
from zope.interface.verify import verifyObject

from audiohookd.auth.authenticator import Authenticator, AuthResult
from audiohookd.auth.keys.model import Key, Keys
from audiohookd.auth.rejection import RejectionReason
from audiohookd.auth.replay.failover import OUTAGE_LOG_INTERVAL, FailoverReplayStore
from audiohookd.auth.replay.store import IReplayStore, StoreUnavailable
from audiohookd.auth.request import UpgradeRequest
from audiohookd.observe.counters import Counters
from tests.auth.foreign_signer import API_KEY, CREATED, SECRET, signed, unsigned

Fail = Literal["closed", "open"]


@implementer(IReplayStore)
class Store:
    """Returns the scripted answer. The test answers ``pending`` lookups."""

    window = 16.0

    def __init__(self) -> None:
        self.answer: Any = True
        self.asked: list[tuple[str, str, float]] = []
        self.pending: list[Deferred[bool]] = []

    def first_use(self, key_id: str, nonce: str, now: float) -> Any:
        self.asked.append((key_id, nonce, now))
        if self.answer == "later":
            self.pending.append(Deferred())
            return self.pending[-1]
        if self.answer == "raise":
            raise StoreUnavailable("it is on fire")
        if isinstance(self.answer, Exception):
            return fail(self.answer)
        return succeed(self.answer)


class Rig:
    def __init__(self, policy: Fail = "closed") -> None:
        self.clock = Clock()
        self.counters = Counters()
        self.store = Store()
        self.obstacles: list[str | None] = []
        self.watched = FailoverReplayStore(
            self.store, "a store", policy, self.clock, self.counters.count, self.obstacles.append
        )
        self.authenticator = Authenticator(Keys({API_KEY: Key((SECRET,))}), self.watched)

    def ask(self, request: UpgradeRequest | None = None) -> list[AuthResult]:
        """What the verdict is put into."""
        verdicts: list[AuthResult] = []
        self.authenticator.authenticate(request or signed(), CREATED).addCallback(verdicts.append)
        return verdicts

    def reason(self) -> RejectionReason | None:
        (verdict,) = self.ask()
        assert verdict.accepted is (verdict.reason is None)
        return verdict.reason

    def is_down(self, answer: Any = None) -> None:
        self.store.answer = answer or StoreUnavailable("it is on fire")

    def count(self, done: str) -> int:
        return self.counters.value("replay_store_failures", done)


def texts(events: list[LogEvent]) -> list[str]:
    return [formatEvent(event) for event in events]


def test_it_is_a_store() -> None:
    assert verifyObject(IReplayStore, Rig().watched)
    assert Rig().watched.window == 16.0


def test_a_store_that_works_is_not_in_the_way(logged: list[LogEvent]) -> None:
    rig = Rig()
    assert rig.reason() is None
    rig.store.answer = False
    assert rig.reason() is RejectionReason.REPLAYED
    assert rig.counters.items() == []
    assert logged == []


def test_a_verdict_waits_for_the_store() -> None:
    rig = Rig()
    rig.store.answer = "later"
    new, old, nobody = rig.ask(), rig.ask(), rig.ask()
    assert [new, old, nobody] == [[], [], []]
    for pending, answer in zip(rig.store.pending, [True, False], strict=False):
        pending.callback(answer)
    rig.store.pending[2].errback(StoreUnavailable("it is on fire"))
    assert [new[0].reason, old[0].reason, nobody[0].reason] == [
        None,
        RejectionReason.REPLAYED,
        RejectionReason.REPLAY_STORE_DOWN,
    ]


def test_only_who_signed_rightly_gets_as_far_as_the_store() -> None:
    rig = Rig()
    for request in (unsigned(), signed(secret=b"wrong"), signed(created=str(CREATED - 100))):
        (verdict,) = rig.ask(request)
        assert not verdict.accepted
    assert rig.store.asked == []


@pytest.mark.parametrize("how", [StoreUnavailable("it is on fire"), "raise"], ids=["fails", "raises"])
def test_closed_rejects_requests_during_an_outage(how: Any) -> None:
    rig = Rig("closed")
    rig.is_down(how)
    assert [rig.reason(), rig.reason()] == [RejectionReason.REPLAY_STORE_DOWN] * 2
    assert (rig.count("refused"), rig.count("let-in")) == (2, 0)
    rig.store.answer = True
    assert rig.reason() is None


@pytest.mark.parametrize("how", [StoreUnavailable("it is on fire"), "raise"], ids=["fails", "raises"])
def test_open_accepts_requests_only_during_an_outage(how: Any) -> None:
    rig = Rig("open")
    rig.is_down(how)
    assert [rig.reason(), rig.reason()] == [None, None]
    assert (rig.count("refused"), rig.count("let-in")) == (0, 2)
    rig.store.answer = False
    assert rig.reason() is RejectionReason.REPLAYED


def test_open_accepts_only_valid_signatures() -> None:
    rig = Rig("open")
    rig.is_down()
    (verdict,) = rig.ask(signed(secret=b"wrong"))
    assert verdict.reason is RejectionReason.SIGNATURE_WRONG
    assert rig.counters.items() == []


def test_an_internal_error_is_no_outage_and_rejects() -> None:
    rig = Rig("open")
    rig.is_down(ZeroDivisionError("oops"))
    failures: list[Any] = []
    rig.authenticator.authenticate(signed(), CREATED).addErrback(failures.append)
    (failure,) = failures
    assert failure.check(ZeroDivisionError)
    assert rig.counters.items() == []


@pytest.mark.parametrize(
    ("policy", "decision"), [("closed", "rejected"), ("open", "accepted without replay protection")]
)
def test_an_outage_logs_its_begin_and_its_end(policy: Fail, decision: str, logged: list[LogEvent]) -> None:
    rig = Rig(policy)
    rig.is_down()
    for _ in range(50):
        rig.reason()
        rig.clock.advance(1.0)
    assert texts(logged) == [f"the replay store is down (a store): it is on fire; signed requests are {decision}"]
    assert logged[0]["log_level"] is LogLevel.error
    rig.store.answer = True
    rig.clock.advance(OUTAGE_LOG_INTERVAL)
    for _ in range(3):
        rig.reason()
    assert texts(logged)[1:] == ["the replay store has recovered (a store); requests without an answer: 50"]


def test_intermittent_answers_are_one_outage(logged: list[LogEvent]) -> None:
    rig = Rig()
    for _ in range(50):
        rig.is_down()
        rig.reason()
        rig.clock.advance(OUTAGE_LOG_INTERVAL / 2)
        rig.store.answer = True
        rig.reason()
    assert len(logged) == 1


def test_the_next_outage_has_lines_of_its_own(logged: list[LogEvent]) -> None:
    rig = Rig()
    for _ in range(2):
        rig.is_down()
        rig.reason()
        rig.store.answer = True
        rig.clock.advance(OUTAGE_LOG_INTERVAL)
        rig.reason()
    begin, end = "the replay store is down", "the replay store has recovered"
    assert [text.partition(" (")[0] for text in texts(logged)] == [begin, end, begin, end]
    assert texts(logged)[3].endswith(" requests without an answer: 1")


def test_closed_makes_the_daemon_not_ready_during_an_outage() -> None:
    rig = Rig("closed")
    rig.is_down()
    rig.reason()
    rig.reason()
    assert rig.watched.is_down
    assert rig.obstacles == ["the replay store is down (a store)"]
    rig.store.answer = True
    rig.clock.advance(OUTAGE_LOG_INTERVAL)
    assert rig.obstacles == ["the replay store is down (a store)", None]
    assert not rig.watched.is_down


def test_open_keeps_the_daemon_ready() -> None:
    rig = Rig("open")
    rig.is_down()
    rig.reason()
    assert rig.watched.is_down
    assert [obstacle for obstacle in rig.obstacles if obstacle is not None] == []


def test_recovery_is_detected_without_calls(logged: list[LogEvent]) -> None:
    rig = Rig()
    rig.is_down()
    rig.reason()
    for _ in range(3):
        rig.clock.advance(OUTAGE_LOG_INTERVAL)
    assert len(logged) == 1
    rig.store.answer = False  # an answer, too
    rig.clock.advance(OUTAGE_LOG_INTERVAL)
    assert texts(logged)[1:] == ["the replay store has recovered (a store); requests without an answer: 1"]
    assert rig.count("refused") == 1


def test_a_probe_looks_up_a_new_nonce(logged: list[LogEvent]) -> None:
    rig = Rig()
    rig.is_down()
    rig.reason()
    for _ in range(3):
        rig.clock.advance(OUTAGE_LOG_INTERVAL)
    (_, *probes) = rig.store.asked
    assert [api_key for api_key, _, _ in probes] == ["", "", ""]
    assert len({nonce for _, nonce, _ in probes}) == 3
    assert [now for _, _, now in probes] == [
        CREATED + OUTAGE_LOG_INTERVAL,
        CREATED + 2 * OUTAGE_LOG_INTERVAL,
        CREATED + 3 * OUTAGE_LOG_INTERVAL,
    ]


def test_one_probe_runs_at_a_time_and_none_without_an_outage() -> None:
    rig = Rig()
    rig.reason()
    assert rig.clock.getDelayedCalls() == []
    rig.is_down()
    rig.reason()
    rig.store.answer = "later"
    rig.clock.advance(10 * OUTAGE_LOG_INTERVAL)
    (probe,) = rig.store.pending
    probe.errback(StoreUnavailable("still on fire"))
    rig.store.answer = True
    rig.clock.advance(OUTAGE_LOG_INTERVAL)
    assert not rig.watched.is_down
    assert rig.clock.getDelayedCalls() == []


def test_an_internal_error_does_not_end_the_probes(logged: list[LogEvent]) -> None:
    rig = Rig()
    rig.is_down()
    rig.reason()
    rig.is_down(ZeroDivisionError("oops"))
    rig.clock.advance(OUTAGE_LOG_INTERVAL)
    assert texts(logged)[1:] == ["replay-store-probe failed, and is tried again: ZeroDivisionError: oops"]
    rig.store.answer = True
    rig.clock.advance(OUTAGE_LOG_INTERVAL)
    assert not rig.watched.is_down
