"""The service that brings ready recordings to every carrier, and then tells every notifier."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.config.schema import Config
from audiohookd.delivery.backoff import Backoff
from audiohookd.delivery.destination import Destination
from audiohookd.delivery.orphans import Orphans
from audiohookd.delivery.pending_queue import RecordingKey
from audiohookd.delivery.receipts import Receipts
from audiohookd.delivery.wake_file import WakeFile
from audiohookd.delivery.worker import SLOW, DeliveryContext, DestinationWorker, Status
from audiohookd.interfaces import IWorkers, PoolFull
from audiohookd.observe.counters import Counters
from audiohookd.runtime.error_text import text_of
from audiohookd.runtime.loops import SupervisedLoop
from audiohookd.spool.paths import SpoolPaths

#: Seconds between two looks at the file ``wake``.
WAKE_EVERY = 5.0
#: Seconds between two searches that nobody asked for: files may be put into the spool by hand.
SEARCH_EVERY = 60.0
#: Seconds that what is in flight gets when the daemon stops. What is cut off is done again after the next start.
STOP_LIMIT = 20.0


class Deliveries(Service):
    """Delivers what is ready, from its start to its stop; does nothing at all where there is no outlet."""

    name = "deliveries"
    _log = Logger()

    def __init__(self, means: DeliveryContext, outlets: Sequence[Destination], wake: WakeFile) -> None:
        self._means = means
        self._wake = wake
        self._couriers = [DestinationWorker(outlet, means, self._tell) for outlet in outlets]
        self._notifying = [courier for courier in self._couriers if not courier.outlet.is_carrier]
        carrying = [courier for courier in self._couriers if courier.outlet.is_carrier]
        self._first = carrying or self._notifying
        loop = partial(SupervisedLoop, means.reactor, count=means.counters.count)
        self.loops = [
            # It waits for what couriers ask of the same threads, as a search through a large spool.
            loop("delivery-wake", self._look_at_wake, WAKE_EVERY, limit=SLOW),
            loop("delivery-search", self._search, SEARCH_EVERY),
        ]

    def startService(self) -> None:
        """Returns at once; what lies in the spool is looked for afterwards, in a worker thread."""
        super().startService()
        if self._couriers:
            prepared: Deferred[Orphans] = self._means.workers.do(self._prepare)
            prepared.addCallback(self._tell_of).addErrback(self._refused).addCallback(self._begin)

    def stopService(self) -> "Deferred[Any]":
        """Begins nothing new. Fires when nothing is in flight, after :data:`STOP_LIMIT` seconds at the latest."""
        super().stopService()
        for loop in self.loops:
            loop.stop()
        stopped = DeferredList([courier.stop() for courier in self._couriers])
        return stopped.addTimeout(STOP_LIMIT, self._means.reactor)

    def announce(self, path: Path) -> None:
        """A recording became ready; ``path`` is that of its audio, or of its sidecar. In the reactor thread."""
        for courier in self._first:
            courier.add(RecordingKey(path.parent.name, path.stem))

    def status(self) -> dict[str, Status]:
        """How each outlet is: ``stored.NAME`` for carriers, ``told.NAME`` for notifiers."""
        return {courier.outlet.done_suffix.removesuffix(".json"): courier.status() for courier in self._couriers}

    def _prepare(self) -> Orphans:
        """In a worker thread. Whoever touches ``wake`` later wants more than the search that follows."""
        self._wake.was_touched()
        return self._means.ledger.recover()

    def _tell_of(self, strays: Orphans) -> None:
        if strays.files:
            files = f"{strays.files} file{'s' if strays.files > 1 else ''}"
            text = "audio without a sidecar is not delivered: {files} in ready/, such as {path}"
            self._log.warn(text, files=files, path=str(strays.example))

    def _begin(self, _: None) -> None:
        if not self.running:
            return
        for courier in self._couriers:
            courier.start()
        for loop in self.loops:
            loop.start()

    def _tell(self, key: RecordingKey) -> None:
        for courier in self._notifying:
            courier.add(key)

    def _search(self) -> None:
        for courier in self._couriers:
            courier.search()

    def _look_at_wake(self) -> "Deferred[None]":
        looked: Deferred[bool] = self._means.workers.do(self._wake.was_touched)
        return looked.addCallbacks(self._woken, self._not_looked)

    def _woken(self, was_touched: bool) -> None:
        for courier in self._couriers if was_touched else ():
            courier.wake()

    def _not_looked(self, failure: Failure) -> Failure | None:
        if failure.check(PoolFull):  # what hangs has all threads: the loop has not turned
            return failure
        self._refused(failure)
        return None

    def _refused(self, failure: Failure) -> None:
        self._log.error("the spool cannot be used: {fault}", fault=text_of(failure.value))


def deliveries_of(
    config: Config,
    outlets: Sequence[Destination],
    reactor: Any,
    now: Callable[[], float],
    workers: IWorkers,
    counters: Counters,
    random: Callable[[], float],
) -> Deliveries:
    """As ``config`` wants it.

    :param now: seconds since the epoch, for dates; the reactor's own are of a clock that nobody sets.
    :param workers: takes at least :func:`disk_work` at once.
    :param random: evenly from 0 up to, but not including, 1.
    """
    spool = SpoolPaths(config.spool.directory)
    ledger = Receipts(spool, outlets, keeps_local=config.spool.local_retention > 0)
    backoff = Backoff(config.delivery.retry_initial_delay, config.delivery.retry_max_delay, random)
    return Deliveries(
        DeliveryContext(reactor, now, workers, ledger, counters, backoff), outlets, WakeFile(spool.wake)
    )


def disk_work(outlets: Sequence[Destination]) -> int:
    """How many pieces of work the disk may be asked for at once."""
    return sum(outlet.concurrency + 1 for outlet in outlets) + 2
