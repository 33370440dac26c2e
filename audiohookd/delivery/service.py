"""The service that delivers ready recordings to every carrier, then to every notifier."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.config.schema import Config
from audiohookd.delivery.destination import Destination
from audiohookd.delivery.pending_queue import RecordingKey
from audiohookd.delivery.receipts import Receipts
from audiohookd.delivery.retry import Backoff
from audiohookd.delivery.scan import Orphans
from audiohookd.delivery.worker import SLOW, DeliveryContext, DestinationWorker
from audiohookd.interfaces import IWorkers, PoolFull
from audiohookd.observe.counters import Counters
from audiohookd.runtime.error_text import text_of
from audiohookd.runtime.file_watcher import FileStamp, stamp_of
from audiohookd.runtime.loops import SupervisedLoop
from audiohookd.spool.paths import SpoolPaths

#: Seconds between two checks of the file ``wake``.
WAKE_EVERY = 5.0
#: Seconds between two periodic searches: operators may put files into the spool by hand.
SEARCH_EVERY = 60.0
#: Seconds that deliveries in flight have to finish at shutdown. An interrupted delivery is repeated after a restart.
STOP_LIMIT = 20.0


class WakeFile:
    """The file ``wake``, which operators touch to retry everything at once. For worker threads, one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: FileStamp | None = None

    def was_touched(self) -> bool:
        """Whether the file was touched since the last call; False when it cannot be read."""
        stamp = stamp_of(self._path)
        if stamp is None:
            return False
        before, self._stamp = self._stamp, stamp
        return stamp != before


class Deliveries(Service):
    """Delivers ready recordings from its start to its stop; idle without destinations."""

    name = "deliveries"
    _log = Logger()

    def __init__(self, context: DeliveryContext, destinations: Sequence[Destination], wake: WakeFile) -> None:
        self._context = context
        self._wake = wake
        self.destination_workers = [
            DestinationWorker(destination, context, self._add_to_notifiers) for destination in destinations
        ]
        self._notifying = [worker for worker in self.destination_workers if not worker.outlet.is_carrier]
        carrying = [worker for worker in self.destination_workers if worker.outlet.is_carrier]
        self._first_stage = carrying or self._notifying
        loop = partial(SupervisedLoop, context.reactor, count=context.counters.count)
        self.loops = [
            # Its thread pool also runs the searches of the workers, which take long in a large spool.
            loop("delivery-wake", self._check_wake_file, WAKE_EVERY, limit=SLOW),
            loop("delivery-search", self._search, SEARCH_EVERY),
        ]

    def startService(self) -> None:
        """Returns at once; the spool is searched later, in a worker thread."""
        super().startService()
        if self.destination_workers:
            prepared: Deferred[Orphans] = self._context.workers.do(self._prepare)
            prepared.addCallback(self._warn_of_orphans).addErrback(self._disk_failed).addCallback(self._begin)

    def stopService(self) -> "Deferred[Any]":
        """Begins no new delivery. Fires when none is in flight, after :data:`STOP_LIMIT` seconds at the latest."""
        super().stopService()
        for loop in self.loops:
            loop.stop()
        stopped = DeferredList([worker.stop() for worker in self.destination_workers])
        return stopped.addTimeout(STOP_LIMIT, self._context.reactor)

    def announce(self, path: Path) -> None:
        """Queues a recording that has become ready. In the reactor thread.

        :param path: of its audio, or of its sidecar.
        """
        for worker in self._first_stage:
            worker.add(RecordingKey(path.parent.name, path.stem))

    def _prepare(self) -> Orphans:
        """In a worker thread. A touch of ``wake`` before this needs no retry: the search that follows finds
        everything.
        """
        self._wake.was_touched()
        return self._context.receipts.recover()

    def _warn_of_orphans(self, orphans: Orphans) -> None:
        if orphans.files:
            files = f"{orphans.files} file{'s' if orphans.files > 1 else ''}"
            text = "audio without a sidecar is not delivered: {files} in ready/, such as {path}"
            self._log.warn(text, files=files, path=str(orphans.example))

    def _begin(self, _: None) -> None:
        if not self.running:
            return
        for worker in self.destination_workers:
            worker.start()
        for loop in self.loops:
            loop.start()

    def _add_to_notifiers(self, key: RecordingKey) -> None:
        for worker in self._notifying:
            worker.add(key)

    def _search(self) -> None:
        for worker in self.destination_workers:
            worker.search()

    def _check_wake_file(self) -> "Deferred[None]":
        checked: Deferred[bool] = self._context.workers.do(self._wake.was_touched)
        return checked.addCallbacks(self._woken, self._wake_check_failed)

    def _woken(self, was_touched: bool) -> None:
        for worker in self.destination_workers if was_touched else ():
            worker.wake()

    def _wake_check_failed(self, failure: Failure) -> Failure | None:
        if failure.check(
            PoolFull
        ):  # hanging work occupies all threads, so nothing was checked: the loop logs and retries
            return failure
        self._disk_failed(failure)
        return None

    def _disk_failed(self, failure: Failure) -> None:
        self._log.error("cannot use the spool: {error}", error=text_of(failure.value))


def deliveries_of(
    config: Config,
    destinations: Sequence[Destination],
    reactor: Any,
    now: Callable[[], float],
    workers: IWorkers,
    counters: Counters,
    random: Callable[[], float],
) -> Deliveries:
    """Builds the service from ``config``.

    :param now: returns seconds since the epoch, for dates; the reactor's clock is monotonic.
    :param workers: accepts at least :func:`disk_work` pieces of work at once.
    :param random: returns a uniform random number, at least 0 and less than 1.
    """
    spool = SpoolPaths(config.spool.directory)
    receipts = Receipts(spool, destinations, keeps_local=config.spool.local_retention > 0)
    backoff = Backoff(config.delivery.retry_initial_delay, config.delivery.retry_max_delay, random)
    return Deliveries(
        DeliveryContext(reactor, now, workers, receipts, counters, backoff), destinations, WakeFile(spool.wake)
    )


def disk_work(destinations: Sequence[Destination]) -> int:
    """The largest number of disk operations that may be requested at once."""
    return sum(destination.concurrency + 1 for destination in destinations) + 2
