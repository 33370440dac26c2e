"""The worker of one destination: takes due recordings from the disk, delivers them, and retries until they are done.

Runs in the reactor thread. At most ``concurrency`` recordings are in flight, and a bounded number is in memory; the
others stay on disk, and a search loads more when the queue runs low.
"""

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from audiohookd.delivery.delivery_log import TEXT_LIMIT, DeliveryLog, describe
from audiohookd.delivery.destination import Destination
from audiohookd.delivery.pending_queue import PendingQueue, RecordingKey
from audiohookd.delivery.receipts import Receipts
from audiohookd.delivery.retry import Backoff, Breaker, Probe
from audiohookd.delivery.scan import ScanResult
from audiohookd.delivery.stages import Stage
from audiohookd.interfaces import IRecording, IWorkers, PoolFull, Unavailable, Undeliverable
from audiohookd.observe.counters import Counters
from audiohookd.runtime import foreign_code
from audiohookd.runtime.error_text import text_of
from audiohookd.runtime.loops import SupervisedLoop
from audiohookd.spool.catalog import Recording

#: When so many different recordings fail in a row, the destination counts as unavailable.
CONSECUTIVE_FAILURES = 5
#: Seconds to wait when a thread pool is full.
PAUSE = 1.0
#: Seconds to wait after a file that cannot be read, so that 100,000 such files do not keep the machine busy.
UNREADABLE_PAUSE = 0.1
#: One in so many queue places is reserved for recordings that have just become due.
NEW_SHARE = 4
#: Seconds after which a delivery is logged as slow. It is not cancelled: the file may be large.
SLOW = 600.0


class Unreadable(Exception):
    """A file of this one recording cannot be read, which says nothing about the destination or other recordings."""


class DeliveryContext(Struct, frozen=True):
    """The services that all destination workers share.

    :param reactor: its clock is monotonic, for durations and timers.
    :param now: returns seconds since the epoch, for dates only.
    :param workers: threads for disk operations; accepts the work of all destination workers at once.
    :param limit: how many recordings each worker may have waiting, and how many deferred.
    """

    reactor: Any
    now: Callable[[], float]
    workers: IWorkers
    receipts: Receipts
    counters: Counters
    backoff: Backoff
    limit: int = 1000


class DestinationWorker:
    """Delivers to ``destination`` from :meth:`start` to :meth:`stop`.

    :param stored: called with each recording that all carriers have stored.
    """

    def __init__(
        self, destination: Destination, context: DeliveryContext, stored: Callable[[RecordingKey], None]
    ) -> None:
        self.outlet = destination
        self._context = context
        self._stored = stored
        new_limit = context.limit // NEW_SHARE
        self.queue = PendingQueue(context.limit - new_limit, context.limit, new_limit)
        self.breaker = Breaker(context.backoff)
        self._delivery_log = DeliveryLog(destination, context.counters)
        self._consecutive_failures: set[RecordingKey] = set()  # recordings that failed since the last success
        #: Receipts that could not be written, usually on a full disk. A retry needs no second delivery.
        self._unrecorded: dict[RecordingKey, Any] = {}
        self._cursor: RecordingKey | None = None  # where the next search continues; None: at the beginning
        self._is_search_due = False
        self._is_searching = False
        self._is_running = False
        self._in_flight: set[Deferred[None]] = set()
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Searches the spool and begins deliveries. Recordings added before this are only found by that search."""
        self._is_running = True
        self.wake()

    def stop(self) -> "Deferred[Any]":
        """Begins no new delivery. Fires when none is in flight; cancelling it cancels those in flight."""
        self._is_running = False
        self._set_timer()
        return DeferredList(list(self._in_flight))

    def add(self, key: RecordingKey) -> None:
        """Queues a recording that has become due. Without room in the queue, a later search finds it."""
        if not self._is_running:
            return
        # While the disk holds a backlog, new recordings use only their reserved places, so as not to starve it.
        is_crowded = self._has_more and not self.queue.is_low
        if not self.queue.add_new(key) and (is_crowded or not self.queue.add(key)):
            self._is_search_due = True
        self._work()

    def search(self) -> None:
        """Requests a search: the disk may hold recordings that are not in the queue."""
        self._is_search_due = True
        self._work()

    def wake(self) -> None:
        """Retries everything now: closes the circuit breaker and forgets all delays."""
        self.breaker.close()
        self._consecutive_failures.clear()
        self.queue.drop_deferred()
        self.search()

    # ---- scheduling ------------------------------------------------------------------------------

    def _work(self) -> None:
        """Begins as many deliveries as are allowed, then a search if one is due."""
        while self._is_free() and self.breaker.admits(self._now()):
            key = self.queue.take(self._now(), newest=self.breaker.is_open)
            if key is None:
                break
            self._begin(key)
        self._search()
        self._set_timer()

    def _is_free(self) -> bool:
        return self._is_running and self.queue.in_flight < self.outlet.concurrency

    def _set_timer(self) -> None:
        """Schedules the next attempt for when a recording is due and the breaker admits it."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        due = self.queue.next_due() if not self.queue.waiting else 0.0
        if due is not None and self._is_free() and not self.breaker.is_half_open:
            delay = max(0.0, max(due, self.breaker.until) - self._now())
            self._timer = self._context.reactor.callLater(delay, self._work)

    @property
    def _has_more(self) -> bool:
        return self._is_search_due or self._cursor is not None

    def _search(self) -> None:
        if not self._is_running or self._is_searching or not self._has_more or not self.queue.is_low:
            return
        if self._cursor is None:
            self._is_search_due = False
        self._is_searching = True
        receipts, queue = self._context.receipts, self.queue
        search = partial(receipts.search, self.outlet, self._cursor, queue.known(), queue.room)
        searched: Deferred[ScanResult] = self._context.workers.do(search)
        searched.addCallbacks(self._found, self._search_failed).addErrback(self._delivery_log.search_failed)

    def _found(self, found: ScanResult) -> None:
        self._is_searching = False
        if found.error is not None:
            self._delivery_log.disk_failed(found.error)
        for key in found.keys:
            if not self.queue.add(key):  # others took the room; a new search finds this one again
                self._is_search_due = True
                break
            self._cursor = key
        else:
            self._cursor = found.cursor
        self._work()

    def _search_failed(self, failure: Failure) -> None:
        """The next request starts a new search from the beginning."""
        self._is_searching = False
        self._cursor = None
        if failure.value is not None:
            self._delivery_log.disk_failed(failure.value)

    # ---- one delivery ----------------------------------------------------------------------------

    def _begin(self, key: RecordingKey) -> None:
        probe = self.breaker.begin()
        delivery = Deferred.fromCoroutine(self._deliver(key, probe))
        self._in_flight.add(delivery)
        report_slow = partial(self._report_slow, key, self._now())
        watch = SupervisedLoop(
            self._context.reactor, "delivery-watch", report_slow, SLOW, self._context.counters.count
        )
        watch.start()
        delivery.addErrback(self._internal_error, key, probe)
        delivery.addCallback(self._ended, delivery, watch)

    def _ended(self, _: None, delivery: "Deferred[None]", watch: SupervisedLoop) -> None:
        watch.stop()
        self._in_flight.discard(delivery)
        self._work()

    def _report_slow(self, key: RecordingKey, begun: float) -> None:
        self._delivery_log.slow(key, self._now() - begun, self._now())

    def _internal_error(self, failure: Failure, key: RecordingKey, probe: Probe | None) -> None:
        self.queue.forget(key)
        self.breaker.release(probe)
        self.breaker.pause(self._now() + PAUSE)
        self._delivery_log.internal_error(key, failure)

    async def _deliver(self, key: RecordingKey, probe: Probe | None) -> None:
        try:
            is_delivered = await self._attempt(key)
        except Exception as error:
            self._failed(key, probe, error)
        else:
            self.queue.forget(key)
            if is_delivered:
                self._succeeded(key)
            self.breaker.release(probe)

    async def _attempt(self, key: RecordingKey) -> bool:
        """Delivers the recording; False when it is no longer due, or was rejected for good."""
        recording = await self._do(self._context.receipts.load_if_due, key, self.outlet)
        receipt = self._unrecorded.pop(key, None)
        if recording is None:
            return False
        if receipt is None:
            try:
                receipt = await self._call_plugin(recording)
            except Undeliverable as error:
                await self._record_rejected(key, text_of(error, TEXT_LIMIT))
                return False
        await self._record_delivered(key, receipt)
        return True

    async def _call_plugin(self, recording: Recording) -> Any:
        """Returns the receipt of a carrier, or an empty one of a notifier."""
        outcome = await foreign_code.outcome_of(self.outlet.deliver, recording)
        if outcome.failure is None:
            return outcome.result if self.outlet.is_carrier else {}
        error: Any = outcome.failure.value
        if isinstance(error, OSError) and is_local_file_error(error, recording):
            raise Unreadable(describe(error)) from error
        raise error

    async def _record_delivered(self, key: RecordingKey, receipt: Any) -> None:
        record, now = self._context.receipts.record_delivered, self._context.now()
        try:
            recorded = await self._do(record, key, self.outlet, receipt, now)
        except (OSError, PoolFull):
            if len(self._unrecorded) < self._context.limit:
                self._unrecorded[key] = receipt
            raise
        if recorded.is_evicted:
            self._delivery_log.evicted(key)
        if recorded.stage is Stage.NOTIFIERS and self.outlet.is_carrier:
            self._stored(key)

    async def _record_rejected(self, key: RecordingKey, reason: str) -> None:
        next_stage = await self._do(
            self._context.receipts.record_rejected, key, self.outlet, reason, self._context.now()
        )
        if next_stage is not None:
            self._delivery_log.rejected(key, reason, is_dead=next_stage is Stage.DEAD)

    async def _do(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await self._context.workers.do(partial(work, *arguments))

    # ---- outcomes --------------------------------------------------------------------------------

    def _succeeded(self, key: RecordingKey) -> None:
        self._consecutive_failures.clear()
        self.breaker.close()  # first: an error while the success is logged says nothing about the destination
        self._delivery_log.delivered(key, self._now())

    def _failed(self, key: RecordingKey, probe: Probe | None, error: Exception) -> None:
        if not self._is_running:  # the shutdown may have cancelled it; the next start repeats it
            self.queue.forget(key)
        elif isinstance(error, PoolFull):
            self.queue.requeue(key)
            self.breaker.release(probe)
            self.breaker.pause(self._now() + PAUSE)
        elif isinstance(error, Unavailable):
            self._unavailable(probe, text_of(error, TEXT_LIMIT), error.retry_after)
            self.queue.requeue(key)
        elif isinstance(error, Unreadable):
            self._defer(key, str(error))
            self.breaker.release(probe)
            self.breaker.pause(self._now() + UNREADABLE_PAUSE)
        else:
            self._delivery_log.programming_error(error)
            self._defer(key, describe(error))
            self._count_failure(key, probe, describe(error))

    def _defer(self, key: RecordingKey, reason: str) -> None:
        delay = self._context.backoff.delay(self.queue.failures(key))
        self.queue.defer(key, self._now() + delay)
        self._delivery_log.failed(key, reason, self._now())

    def _count_failure(self, key: RecordingKey, probe: Probe | None, reason: str) -> None:
        """Counts a failed recording: several different ones in a row mean that the destination is unavailable."""
        if len(self._consecutive_failures) < CONSECUTIVE_FAILURES:
            self._consecutive_failures.add(key)
        if self.breaker.is_current(probe) or len(self._consecutive_failures) >= CONSECUTIVE_FAILURES:
            self._unavailable(
                probe, f"{len(self._consecutive_failures)} recordings in a row failed, the last with {reason}"
            )

    def _unavailable(self, probe: Probe | None, reason: str, retry_after: float | None = None) -> None:
        self.breaker.fail(probe, self._now(), retry_after)
        self._delivery_log.unavailable(reason, self._now(), self.breaker.until)

    def _now(self) -> float:
        return float(self._context.reactor.seconds())


def is_local_file_error(error: OSError, recording: IRecording) -> bool:
    """Whether ``error`` concerns a file of ``recording``: it names one, or has an errno that only disks raise.

    Sockets raise OSError, too, but name no file.
    """
    if isinstance(error.filename, str):
        path = Path(error.filename)
        return path.parent == recording.sidecar.parent and path.name.startswith(f"{recording.id}.")
    return error.errno == errno.EIO
