"""Repairs drafts while the daemon runs: at its start, and again while a draft could not be finished. Reactor side."""

from collections import Counter
from collections.abc import Callable, Container, Iterator
from functools import partial
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.escaping import loggable
from audiohookd.interfaces import IWorkers, PoolFull
from audiohookd.runtime.error_text import text_of
from audiohookd.runtime.loops import SupervisedLoop
from audiohookd.spool.paths import SpoolPaths
from audiohookd.spool.repair import RepairResult, repair_drafts

T = TypeVar("T")

#: Seconds until a failed repair is retried.
RETRY_INTERVAL = 60.0
#: Seconds that one draft may take: a day of two channels is 1.4 GB to hash.
DRAFT_LIMIT = 600.0


class DraftRepairer:
    """Repairs the drafts that are not in use, one at a time, in worker threads.

    :param live: the ids of the drafts in use.
    :param on_repaired: called in the reactor thread with the result of each repair.
    :param count: as :meth:`audiohookd.observe.counters.Counters.count`.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        workers: IWorkers,
        spool: SpoolPaths,
        live: Container[str],
        on_repaired: Callable[[RepairResult], None],
        count: Callable[..., object] = lambda *_: None,
    ) -> None:
        self._workers = workers
        self._spool = spool
        self._live = live
        self._on_repaired = on_repaired
        self.loop = SupervisedLoop(
            reactor, "spool-repair", self._begin, RETRY_INTERVAL, count, DRAFT_LIMIT, on_demand=True
        )
        self.loop.start()
        self._round: Deferred[None] | None = None

    def start(self) -> None:
        """Begins a round, unless one is under way."""
        if self._round is None:
            self.loop.run()

    def _begin(self) -> "Deferred[None]":
        self._round = Deferred.fromCoroutine(self._repair_all())
        return self._round.addErrback(self._failed).addBoth(self._schedule_retry)

    def retry(self) -> None:
        """Schedules a round after :data:`RETRY_INTERVAL`."""
        if not self.loop.is_waiting:
            self.loop.next_in(RETRY_INTERVAL)

    def stop(self) -> "Deferred[None]":
        """Stops for good. Fires when the current draft is done."""
        self.loop.stop()
        stopped: Deferred[None] = Deferred()
        if self._round is None:
            stopped.callback(None)
        else:
            self._round.addBoth(lambda _: stopped.callback(None))
        return stopped

    async def _repair_all(self) -> None:
        drafts: Iterator[RepairResult] = repair_drafts(self._spool, self._live)
        outcomes: Counter[str] = Counter()
        reason = ""
        while self.loop.is_running:
            result = await self._workers.do(partial(next, drafts, None))
            self.loop.touch()
            if result is None:
                break
            outcomes[result.outcome] += 1
            reason = reason or result.reason
            if result.outcome == "broken":
                self._log.error(
                    "draft {id} cannot be repaired, moved to broken/: {reason}",
                    id=result.id,
                    reason=loggable(result.reason),
                )
            self._on_repaired(result)
        if outcomes["ready"]:
            self._log.info(
                "recovered {count} recordings that a crash or an error left behind", count=outcomes["ready"]
            )
        if outcomes["empty"]:
            self._log.info("removed {count} empty drafts that a crash left behind", count=outcomes["empty"])
        if outcomes["failed"]:
            self._log.warn(
                "{count} drafts cannot be repaired yet, retry in {seconds:g} s: {reason}",
                count=outcomes["failed"],
                seconds=RETRY_INTERVAL,
                reason=loggable(reason),
            )
            self.retry()

    def _failed(self, failure: Failure) -> None:
        """Handles a round that failed: the pool was full, or the directory could not be read."""
        if failure.check(OSError, PoolFull):
            self._log.warn(
                "drafts cannot be repaired now, retry in {seconds:g} s: {reason}",
                seconds=RETRY_INTERVAL,
                reason=text_of(failure.value),
            )
        else:
            self._log.failure("repair of drafts failed, retry in {seconds:g} s", failure, seconds=RETRY_INTERVAL)
        self.retry()

    def _schedule_retry(self, outcome: T) -> T:
        self._round = None
        return outcome
