"""What happens to those who ask while the replay store is down, and what is said of it."""

from collections.abc import Callable
from typing import Literal

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from audiohookd.auth.replay import IReplayStore, StoreDown
from audiohookd.runtime.faults import text_of
from audiohookd.runtime.loops import SupervisedLoop

#: Seconds without a failure after which an outage is over, when the store answers then; it is asked when nobody else
#: does so. A store that answers every other time is one outage.
CALM = 10.0
#: What is done with who asks while it is down, as it is counted.
OUTCOMES = ("refused", "let-in")


@implementer(IReplayStore)
class WatchedReplayStore:
    """A store that may be down: ``closed`` refuses who asks then, ``open`` lets him in unseen.

    Each such decision is counted, as ``replay_store_failures``. An outage is two lines in the log, however many ask:
    one when it begins, and one when it answers again, and nobody has been refused an answer for a while. So that this
    is found out also when nobody calls, it is asked as a call would ask, about a nonce of our own: a server that
    answers, but refuses to keep anything, is down.

    :param count: counts by name and label.
    :param tell: called with the reason when nobody who signs can be let in any more, and with None when that is over.
    """

    _log = Logger()

    def __init__(
        self,
        store: IReplayStore,
        name: str,
        fail: Literal["closed", "open"],
        clock: IReactorTime,
        count: Callable[[str, str], object],
        tell: Callable[[str | None], None] = lambda obstacle: None,
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
        self.loop = SupervisedLoop(clock, "replay-store-probe", self._look, CALM, count, on_demand=True)
        self.loop.start()
        #: What to add to the seconds of the clock to get a ``created`` of now.
        self._epoch = 0.0

    @property
    def is_down(self) -> bool:
        """Since somebody had no answer, until it is over."""
        return self._failures > 0

    def first_use(self, key_id: str, nonce: str, created: float) -> "Deferred[bool]":
        """See :class:`IReplayStore`."""
        self._epoch = created - self._clock.seconds()
        return self._ask(key_id, nonce, created).addCallbacks(self._answered, self._failed)

    def _ask(self, key_id: str, nonce: str, created: float) -> "Deferred[bool]":
        return maybeDeferred(self._store.first_use, key_id, nonce, created)

    def _answered(self, first: bool) -> bool:
        if self._failures and self._clock.seconds() - self._failed_at >= CALM:
            self._tell(None)
            text = "the replay store answers again ({store}); requests that had no answer: {count}"
            self._log.info(text, store=self._name, count=self._failures)
            self._failures = 0
        return first

    def _failed(self, failure: Failure) -> "Failure | bool":
        failure.trap(StoreDown)
        done = "let-in" if self._fail == "open" else "refused"
        if not self._failures:
            text = "the replay store is down ({store}): {reason}; who asks is {done}"
            self._log.error(text, store=self._name, reason=text_of(failure.value), done=done.replace("-", " "))
            if self._fail == "closed":
                self._tell(f"the replay store is down ({self._name})")
        self._failures += 1
        self._put_off()
        self._count("replay_store_failures", done)
        return True if self._fail == "open" else failure

    def _put_off(self) -> None:
        """The end, and the question whether it has come."""
        self._failed_at = self._clock.seconds()
        self.loop.next_in(CALM)

    def _look(self) -> "Deferred[None] | None":
        if not self._failures:
            return None
        seconds = self._clock.seconds()
        # No API key is empty. Whether the nonce is new does not matter.
        asked = self._ask("", f"{seconds}", seconds + self._epoch)
        asked.addCallbacks(self._answered, self._still_down)
        return asked.addCallback(self._look_again)

    def _still_down(self, failure: Failure) -> None:
        failure.trap(StoreDown)
        self._put_off()

    def _look_again(self, _: object) -> None:
        """Unless somebody sees to that already."""
        if self._failures and not self.loop.is_waiting:
            self.loop.next_in(CALM)
