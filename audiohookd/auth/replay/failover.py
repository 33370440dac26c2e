"""Accepts or rejects requests while the replay store is down, and logs the outage."""

from collections.abc import Callable
from typing import Literal

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from audiohookd.auth.replay.store import IReplayStore, StoreUnavailable
from audiohookd.runtime.error_text import text_of
from audiohookd.runtime.loops import SupervisedLoop

#: Seconds without a failure after which an answer ends an outage. Without lookups, the store is probed at this
#: interval. A store that answers only every other time is one outage.
OUTAGE_LOG_INTERVAL = 10.0
#: Labels of the counter: the decision for a request while the store is down.
OUTCOMES = ("refused", "let-in")


@implementer(IReplayStore)
class FailoverReplayStore:
    """Wraps a store that may be down. Then ``closed`` rejects requests, and ``open`` accepts them without a check.

    Each such decision is counted as ``replay_store_failures``. An outage has two lines in the log, however many
    requests come: one when it begins, and one when the store has recovered. Recovery does not depend on calls,
    because the store is probed with a nonce of the daemon. A server that answers, but cannot store the nonce, is
    down.

    :param count: counts by name and label.
    :param tell: called with the reason when all signed requests are rejected, and with None when the store recovers.
    """

    _log = Logger()

    def __init__(
        self,
        store: IReplayStore,
        name: str,
        fail: Literal["closed", "open"],
        clock: IReactorTime,
        count: Callable[[str, str], object],
        tell: Callable[[str | None], None] = lambda reason: None,
    ) -> None:
        self.window: float = store.window
        self._store = store
        self._name = name
        self._fail = fail
        self._clock = clock
        self._count = count
        self._tell = tell
        self._failures = 0
        self._failed_at = 0.0
        self.loop = SupervisedLoop(
            clock, "replay-store-probe", self._probe, OUTAGE_LOG_INTERVAL, count, on_demand=True
        )
        self.loop.start()
        #: The difference between ``created`` and the clock, for the ``created`` of a probe.
        self._epoch = 0.0

    @property
    def is_down(self) -> bool:
        """Whether an outage lasts."""
        return self._failures > 0

    def first_use(self, key_id: str, nonce: str, created: float) -> "Deferred[bool]":
        """See :class:`IReplayStore`."""
        self._epoch = created - self._clock.seconds()
        return self._ask(key_id, nonce, created).addCallbacks(self._answered, self._failed)

    def _ask(self, key_id: str, nonce: str, created: float) -> "Deferred[bool]":
        return maybeDeferred(self._store.first_use, key_id, nonce, created)

    def _answered(self, first: bool) -> bool:
        if self._failures and self._clock.seconds() - self._failed_at >= OUTAGE_LOG_INTERVAL:
            self._tell(None)
            text = "the replay store has recovered ({store}); requests without an answer: {count}"
            self._log.info(text, store=self._name, count=self._failures)
            self._failures = 0
        return first

    def _failed(self, failure: Failure) -> "Failure | bool":
        failure.trap(StoreUnavailable)
        outcome = "let-in" if self._fail == "open" else "refused"
        if not self._failures:
            text = "the replay store is down ({store}): {reason}; signed requests are {decision}"
            decision = "accepted without replay protection" if self._fail == "open" else "rejected"
            self._log.error(text, store=self._name, reason=text_of(failure.value), decision=decision)
            if self._fail == "closed":
                self._tell(f"the replay store is down ({self._name})")
        self._failures += 1
        self._schedule_probe()
        self._count("replay_store_failures", outcome)
        return True if self._fail == "open" else failure

    def _schedule_probe(self) -> None:
        """Schedules the next probe, and with it the earliest end of the outage."""
        self._failed_at = self._clock.seconds()
        self.loop.next_in(OUTAGE_LOG_INTERVAL)

    def _probe(self) -> "Deferred[None] | None":
        if not self._failures:
            return None
        seconds = self._clock.seconds()
        # No API key is empty, so a probe cannot collide with a request. Whether the nonce is new does not matter.
        answer = self._ask("", f"{seconds}", seconds + self._epoch)
        answer.addCallbacks(self._answered, self._still_down)
        return answer.addCallback(self._probe_again)

    def _still_down(self, failure: Failure) -> None:
        failure.trap(StoreUnavailable)
        self._schedule_probe()

    def _probe_again(self, _: object) -> None:
        """Schedules the next probe, unless a failure has scheduled it."""
        if self._failures and not self.loop.is_waiting:
            self.loop.next_in(OUTAGE_LOG_INTERVAL)
