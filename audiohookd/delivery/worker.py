"""One outlet at work: what is due is taken from disk, delivered, and tried again until it is done.

In the reactor thread. At most as many recordings as the outlet wants are in flight, and not many more are known; the
others are on disk, and are looked for when those that wait run low.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import Struct
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from audiohookd.delivery.backoff import Backoff
from audiohookd.delivery.breaker import Breaker, Probe
from audiohookd.delivery.concurrency import ConcurrencyLimit
from audiohookd.delivery.delivery_log import TEXT_LIMIT, DeliveryLog, describe
from audiohookd.delivery.destination import Destination
from audiohookd.delivery.file_errors import Unreadable, is_local_file_error
from audiohookd.delivery.pending_queue import PendingQueue, RecordingKey
from audiohookd.delivery.receipts import Receipts
from audiohookd.delivery.scan import ScanResult
from audiohookd.delivery.stages import Stage
from audiohookd.interfaces import IWorkers, PoolFull, Unavailable, Undeliverable
from audiohookd.observe.counters import Counters
from audiohookd.runtime import foreign_code
from audiohookd.runtime.error_text import text_of
from audiohookd.runtime.loops import SupervisedLoop

#: So many different recordings that fail one after the other are not at fault themselves, most likely.
CONSECUTIVE_FAILURES = 5
#: Seconds to wait when a pool of threads takes no more.
PAUSE = 1.0
#: Seconds to wait after a file that cannot be read: a hundred thousand such files shall not keep the machine busy.
UNREADABLE_PAUSE = 0.1
#: One in so many of those that may wait is kept for recordings that have just become due.
NEW_SHARE = 4
#: Seconds after which a delivery is told of that does not end; it is not cut off, for it may be a large one.
SLOW = 600.0


class DeliveryContext(Struct, frozen=True):
    """What all couriers work with.

    :param reactor: its seconds are those of a clock that nobody sets: how long something took, and what is next.
    :param now: seconds since the epoch, for dates alone.
    :param workers: for the disk; takes what all of them may ask at once.
    :param limit: how many recordings each may know that wait, and how many that rest.
    """

    reactor: Any
    now: Callable[[], float]
    workers: IWorkers
    ledger: Receipts
    counters: Counters
    backoff: Backoff
    limit: int = 1000


class Status(Struct, frozen=True):
    """How an outlet is.

    :param unavailable_since: seconds since the epoch; None while nothing is the matter.
    """

    waiting: int
    in_flight: int
    resting: int
    unavailable_since: float | None
    last_error: str | None


class DestinationWorker:
    """Delivers to ``outlet`` from :meth:`start` to :meth:`stop`.

    :param stored: called with each recording that all carriers have stored.
    """

    def __init__(self, outlet: Destination, means: DeliveryContext, stored: Callable[[RecordingKey], None]) -> None:
        self.outlet = outlet
        self._means = means
        self._stored = stored
        new_limit = means.limit // NEW_SHARE
        self._queue = PendingQueue(means.limit - new_limit, means.limit, new_limit)
        self._lanes = ConcurrencyLimit(outlet.concurrency)
        self._breaker = Breaker(means.backoff)
        self._bulletin = DeliveryLog(outlet, means.counters, means.now)
        self._consecutive_failures: set[RecordingKey] = set()  # that failed since the last success
        self._cursor: RecordingKey | None = None  # where the search goes on, when it did not get to the end
        self._is_search_due = False
        self._is_searching = False
        self._is_running = False
        self._under_way: set[Deferred[None]] = set()
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Looks for what is there, and begins. Until then what is added is only found on disk."""
        self._is_running = True
        self.wake()

    def stop(self) -> "Deferred[Any]":
        """Begins nothing new. Fires when nothing is in flight; cancelling it cuts off what is."""
        self._is_running = False
        self._set_timer()
        return DeferredList(list(self._under_way))

    def add(self, key: RecordingKey) -> None:
        """A recording has become due. Where there is no room it is found on disk later."""
        if not self._is_running:
            return
        # While more is on disk, those that come get no more than their own places: it would starve what is there.
        is_crowded = self._has_more and not self._queue.is_low
        if not self._queue.add_new(key) and (is_crowded or not self._queue.add(key)):
            self._is_search_due = True
        self._work()

    def search(self) -> None:
        """There may be something on disk that is not known."""
        self._is_search_due = True
        self._work()

    def wake(self) -> None:
        """Whatever was the matter, it may have been mended: everything is tried now."""
        self._breaker.close()
        self._consecutive_failures.clear()
        self._queue.drop_deferred()
        self.search()

    def status(self) -> Status:
        """How it is."""
        queue, bulletin = self._queue, self._bulletin
        return Status(queue.waiting, queue.in_flight, queue.deferred, bulletin.unavailable_since, bulletin.last_error)

    # ---- what is next ----------------------------------------------------------------------------

    def _work(self) -> None:
        """Begins what can be begun."""
        while self._is_free() and self._breaker.admits(self._now()):
            key = self._queue.take(self._now(), newest=self._breaker.is_open)
            if key is None:
                break
            self._begin(key)
        self._search()
        self._set_timer()

    def _is_free(self) -> bool:
        return self._is_running and self._lanes.admits(self._queue.in_flight, self._now())

    def _set_timer(self) -> None:
        """For what can be begun later, by the passing of time alone."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        due = self._queue.next_due() if not self._queue.waiting else 0.0
        opens_at = self._lanes.next_slot_at(self._queue.in_flight) if self._is_running else None
        if due is not None and opens_at is not None and not self._breaker.is_half_open:
            now = self._now()
            at = max(now, due, opens_at, self._breaker.until)
            self._timer = self._means.reactor.callLater(at - now, self._work_on_time, at)

    def _work_on_time(self, due: float) -> None:
        """Uploads that last tell nothing of how calls fare: what tells it is how late this comes."""
        self._lanes.record_latency(self._now() - due, self._now())
        self._work()

    @property
    def _has_more(self) -> bool:
        return self._is_search_due or self._cursor is not None

    def _search(self) -> None:
        if not self._is_running or self._is_searching or not self._has_more or not self._queue.is_low:
            return
        if self._cursor is None:
            self._is_search_due = False
        self._is_searching = True
        ledger, queue = self._means.ledger, self._queue
        search = partial(ledger.search, self.outlet, self._cursor, queue.known(), queue.room)
        searched: Deferred[ScanResult] = self._means.workers.do(search)
        searched.addCallbacks(self._found, self._not_found).addErrback(self._bulletin.search_failed)

    def _found(self, found: ScanResult) -> None:
        self._is_searching = False
        if found.fault is not None:
            self._bulletin.disk_failed(found.fault)
        for key in found.keys:
            if not self._queue.add(key):  # others came meanwhile; this one is found again
                self._is_search_due = True
                break
            self._cursor = key
        else:
            self._cursor = found.cursor
        self._work()

    def _not_found(self, failure: Failure) -> None:
        """The next search begins anew, when somebody asks for it."""
        self._is_searching = False
        self._cursor = None
        if failure.value is not None:
            self._bulletin.disk_failed(failure.value)

    # ---- one recording ---------------------------------------------------------------------------

    def _begin(self, key: RecordingKey) -> None:
        trial = self._breaker.begin()
        delivery = Deferred.fromCoroutine(self._deliver(key, trial))
        self._under_way.add(delivery)
        look = partial(self._look_at_the_clock, key, self._now())
        watch = SupervisedLoop(self._means.reactor, "delivery-watch", look, SLOW, self._means.counters.count)
        watch.start()
        delivery.addErrback(self._went_wrong, key, trial)
        delivery.addCallback(self._ended, delivery, watch)

    def _ended(self, _: None, delivery: "Deferred[None]", watch: SupervisedLoop) -> None:
        watch.stop()
        self._under_way.discard(delivery)
        self._work()

    def _look_at_the_clock(self, key: RecordingKey, begun: float) -> None:
        self._bulletin.slow(key, self._now() - begun, self._now())

    def _went_wrong(self, failure: Failure, key: RecordingKey, trial: Probe | None) -> None:
        self._bulletin.went_wrong(key, failure)
        self._queue.forget(key)
        self._breaker.release(trial)
        self._breaker.pause(self._now() + PAUSE)

    async def _deliver(self, key: RecordingKey, trial: Probe | None) -> None:
        try:
            is_delivered = await self._attempt(key)
        except Exception as fault:
            self._failed(key, trial, fault)
        else:
            self._queue.forget(key)
            if is_delivered:
                self._succeeded(key)
            self._breaker.release(trial)

    async def _attempt(self, key: RecordingKey) -> bool:
        """False when there was nothing to deliver, or it can never be."""
        recording = await self._do(self._means.ledger.load_if_due, key, self.outlet)
        if recording is None:
            return False
        outcome = await foreign_code.outcome_of(self.outlet.deliver, recording)
        fault = outcome.failure.value if outcome.failure is not None else None
        if isinstance(fault, Undeliverable):
            await self._refuse(key, text_of(fault, TEXT_LIMIT))
            return False
        if isinstance(fault, OSError) and is_local_file_error(fault, recording):
            raise Unreadable(describe(fault)) from fault
        if fault is not None:
            raise fault
        receipt = outcome.result if self.outlet.is_carrier else {}
        is_stored = await self._keep(key, receipt)
        if is_stored and self.outlet.is_carrier:
            self._stored(key)
        return True

    async def _keep(self, key: RecordingKey, receipt: Any) -> bool:
        ledger = self._means.ledger
        try:
            is_stored: bool = await self._do(ledger.record_delivered, key, self.outlet, receipt, self._means.now())
        finally:
            while ledger.displaced:
                self._bulletin.evicted(ledger.displaced.popleft())
        return is_stored

    async def _refuse(self, key: RecordingKey, reason: str) -> None:
        step = await self._do(self._means.ledger.record_rejected, key, self.outlet, reason, self._means.now())
        if step is not None:
            self._bulletin.rejected(key, reason, is_dead=step is Stage.GRAVE)

    async def _do(self, work: Callable[..., Any], *arguments: Any) -> Any:
        result, done = await self._means.workers.do(partial(_timed, self._means.reactor.seconds, work, *arguments))
        self._lanes.record_latency(self._now() - done, self._now())
        return result

    # ---- what came of it -------------------------------------------------------------------------

    def _succeeded(self, key: RecordingKey) -> None:
        self._bulletin.delivered(key, self._now())
        self._consecutive_failures.clear()
        self._breaker.close()

    def _failed(self, key: RecordingKey, trial: Probe | None, fault: Exception) -> None:
        if not self._is_running:  # cut off, perhaps; done again next time
            self._queue.forget(key)
        elif isinstance(fault, PoolFull):
            self._queue.requeue(key)
            self._breaker.release(trial)
            self._breaker.pause(self._now() + PAUSE)
        elif isinstance(fault, Unavailable):
            self._unavailable(trial, text_of(fault, TEXT_LIMIT), fault.retry_after)
            self._queue.requeue(key)
        elif isinstance(fault, Unreadable):
            self._rest(key, str(fault))
            self._breaker.release(trial)
            self._breaker.pause(self._now() + UNREADABLE_PAUSE)
        else:
            self._bulletin.programming_error(fault)
            self._rest(key, describe(fault))
            self._count(key, trial, describe(fault))

    def _rest(self, key: RecordingKey, reason: str) -> None:
        delay = self._means.backoff.delay(self._queue.failures(key))
        self._queue.defer(key, self._now() + delay)
        self._bulletin.failed(key, reason, self._now())

    def _count(self, key: RecordingKey, trial: Probe | None, reason: str) -> None:
        """It may be the other side."""
        if len(self._consecutive_failures) < CONSECUTIVE_FAILURES:
            self._consecutive_failures.add(key)
        if self._breaker.is_current(trial) or len(self._consecutive_failures) >= CONSECUTIVE_FAILURES:
            self._unavailable(
                trial, f"{len(self._consecutive_failures)} recordings in a row failed, the last with {reason}"
            )

    def _unavailable(self, trial: Probe | None, reason: str, retry_after: float | None = None) -> None:
        self._breaker.fail(trial, self._now(), retry_after)
        self._bulletin.unavailable(reason, self._now(), self._breaker.until)

    def _now(self) -> float:
        return float(self._means.reactor.seconds())


def _timed(now: Callable[[], float], work: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """In a worker thread: the result, and when it was there."""
    return work(*arguments), now()
