"""Repair while the daemon runs: at its start, and again as long as a draft could not be finished. Reactor side."""

from collections import Counter
from collections.abc import Callable, Container, Iterator
from functools import partial
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.escaping import loggable
from audiohookd.interfaces import IWorkers
from audiohookd.runtime.faults import text_of
from audiohookd.runtime.loops import SupervisedLoop
from audiohookd.runtime.workers import PoolFull
from audiohookd.spool.layout import Layout
from audiohookd.spool.repair import Mended, mend

T = TypeVar("T")

#: Seconds until what the disk refused is tried again.
AGAIN = 60.0
#: Seconds that one draft may take: a day of two channels are 1.4 GB to be hashed.
DRAFT_LIMIT = 600.0


class Mender:
    """Makes recordings of drafts that nobody takes care of, one at a time, in worker threads.

    :param live: the ids of the drafts that somebody takes care of.
    :param mended: called in the reactor thread with each draft that was dealt with.
    :param count: as :meth:`audiohookd.observe.counters.Counters.count`.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        workers: IWorkers,
        spool: Layout,
        live: Container[str],
        mended: Callable[[Mended], None],
        count: Callable[..., object] = lambda *_: None,
    ) -> None:
        self._workers = workers
        self._spool = spool
        self._live = live
        self._mended = mended
        self.loop = SupervisedLoop(
            reactor, "spool-repair", self._begin, AGAIN, count, DRAFT_LIMIT, on_demand=True
        )
        self.loop.start()
        self._round: Deferred[None] | None = None

    def start(self) -> None:
        """Begins a round, unless one is under way."""
        if self._round is None:
            self.loop.run()

    def _begin(self) -> "Deferred[None]":
        self._round = Deferred.fromCoroutine(self._mend_all())
        return self._round.addErrback(self._failed).addBoth(self._rest)

    def again(self) -> None:
        """There is a draft to be tried again, after some time."""
        if not self.loop.is_waiting:
            self.loop.next_in(AGAIN)

    def stop(self) -> "Deferred[None]":
        """Fires when the draft that is being dealt with is done. For good."""
        self.loop.stop()
        stopped: Deferred[None] = Deferred()
        if self._round is None:
            stopped.callback(None)
        else:
            self._round.addBoth(lambda _: stopped.callback(None))
        return stopped

    async def _mend_all(self) -> None:
        drafts: Iterator[Mended] = mend(self._spool, self._live)
        outcomes: Counter[str] = Counter()
        reason = ""
        while self.loop.is_running:
            mended = await self._workers.do(partial(next, drafts, None))
            self.loop.touch()
            if mended is None:
                break
            outcomes[mended.outcome] += 1
            reason = reason or mended.reason
            if mended.outcome == "broken":
                self._log.error(
                    "draft {id} cannot be repaired, and lies in broken/ now: {reason}",
                    id=mended.id,
                    reason=loggable(mended.reason),
                )
            self._mended(mended)
        if outcomes["ready"]:
            self._log.info("{count} recordings that were left behind are ready now", count=outcomes["ready"])
        if outcomes["empty"]:
            self._log.info("{count} drafts with nothing in them were removed", count=outcomes["empty"])
        if outcomes["failed"]:
            self._log.warn(
                "{count} drafts cannot be finished yet, and are tried again in {seconds:g} s: {reason}",
                count=outcomes["failed"],
                seconds=AGAIN,
                reason=loggable(reason),
            )
            self.again()

    def _failed(self, failure: Failure) -> None:
        """The pool was busy with more important things, or the directory could not be read."""
        if failure.check(OSError, PoolFull):
            self._log.warn("drafts cannot be repaired now: {reason}", reason=text_of(failure.value))
        else:
            self._log.failure("drafts cannot be repaired", failure)
        self.again()

    def _rest(self, outcome: T) -> T:
        self._round = None
        return outcome
