"""What happens to those who ask while the replay store is down, and what is said of it."""

from collections.abc import Callable
from typing import Literal

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from audiohookd.auth.replay import IReplayStore, StoreDown

#: Seconds without a failure after which an outage is over. A store that answers every other time is one outage.
CALM = 10.0


@implementer(IReplayStore)
class WatchedReplayStore:
    """A store that may be down: ``closed`` refuses who asks then, ``open`` lets him in unseen.

    Each such decision is counted, as ``replay_store_failures``. An outage is two lines in the log, however many ask:
    one when it begins, and one when somebody is answered again, and nobody has been refused an answer for a while.

    :param count: counts by name and label.
    """

    _log = Logger()

    def __init__(
        self,
        store: IReplayStore,
        name: str,
        fail: Literal["closed", "open"],
        clock: IReactorTime,
        count: Callable[[str, str], object],
    ) -> None:
        self.window: float = store.window
        self._store = store
        self._name = name
        self._fail = fail
        self._clock = clock
        self._count = count
        self._failures = 0
        self._failed_at = 0.0

    def first_use(self, key_id: str, nonce: str, now: float) -> "Deferred[bool]":
        """See :class:`IReplayStore`."""
        asked: Deferred[bool] = maybeDeferred(self._store.first_use, key_id, nonce, now)
        return asked.addCallbacks(self._answered, self._failed)

    def _answered(self, first: bool) -> bool:
        if self._failures and self._clock.seconds() - self._failed_at >= CALM:
            text = "the replay store answers again ({store}): {count} requests had no answer"
            self._log.info(text, store=self._name, count=self._failures)
            self._failures = 0
        return first

    def _failed(self, failure: Failure) -> "Failure | bool":
        failure.trap(StoreDown)
        done = "let-in" if self._fail == "open" else "refused"
        if not self._failures:
            text = "the replay store is down ({store}): {reason}; who asks is {done}"
            self._log.error(text, store=self._name, reason=failure.getErrorMessage(), done=done.replace("-", " "))
        self._failures += 1
        self._failed_at = self._clock.seconds()
        self._count("replay_store_failures", done)
        return True if self._fail == "open" else failure
