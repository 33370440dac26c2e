"""What is written reaches the disk itself: a loss of power costs at most ``sync_interval`` of each live call.

A commit hands over to the system what was gathered; from then on only the loss of power, or a crash of the system,
can take it. Rounds of syncing (``rounds``) bound that. They have a thread of their own and not the writer's: a disk
that is busy may take seconds for one, and no commit, and with it the bound for ``kill -9``, shall wait for that.
"""

import errno
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.interfaces import IWorkers
from audiohookd.runtime.error_text import text_of
from audiohookd.runtime.loops import SupervisedLoop
from audiohookd.runtime.workers import PoolFull
from audiohookd.spool.write.append_file import Syscalls
from audiohookd.spool.write.sync_rounds import SyncError, sync_all

#: Seconds between rounds at least, however short the interval that is asked for.
MIN_PERIOD = 0.1
#: Seconds that a round may take: a disk that is busy for long is late, but has not stopped.
ROUND_LIMIT = 30.0


class Syncer:
    """Rounds over all files that have grown, at most one under way. For the reactor thread.

    What is given to a draft at any time waits for a commit, then for a round, then for the end of that. A round
    begins ``period`` after the first file became dirty, and is late when it takes longer than that. So the bound is
    two periods after the commit.

    :param workers: a pool with one thread.
    :param count: as :meth:`audiohookd.observe.counters.Counters.count`.
    """

    _log = Logger()

    def __init__(
        self, reactor: IReactorTime, workers: IWorkers, period: float, count: Callable[..., object], disk: Syscalls
    ) -> None:
        #: What is wrong; None when nothing is.
        self.fault: str | None = None
        self._reactor = reactor
        self._workers = workers
        self._period = max(period, MIN_PERIOD)
        self._count = count
        self._disk = disk
        self._dirty: dict[Path, bool] = {}  # True for a directory
        self._due = 0.0  # when the next round is to begin, if anything is dirty
        loop = partial(SupervisedLoop, reactor, "spool-syncer", self._sync, self._period, count)
        self.loop = loop(ROUND_LIMIT, on_demand=True)
        self.loop.start()
        self._overdue_timer: IDelayedCall | None = None  # there while a round is under way
        self._is_slow = False

    def mark(self, files: Iterable[Path], directories: Iterable[Path] = ()) -> None:
        """``files`` have grown; in ``directories`` some were made."""
        was_clean = not self._dirty
        self._dirty.update(dict.fromkeys(files, False))
        self._dirty.update(dict.fromkeys(directories, True))
        if was_clean:
            self._due = self._reactor.seconds() + self._period
        self._schedule()

    def pause(self) -> None:
        """Nobody writes any more. What is dirty is left to the system, until something is marked again."""
        self._dirty.clear()
        self.loop.rest()

    def _schedule(self) -> None:
        if self._dirty and not self.loop.is_waiting and self._overdue_timer is None:
            self.loop.next_in(max(0.0, self._due - self._reactor.seconds()))

    def _sync(self) -> "Deferred[None]":
        dirty, self._dirty = self._dirty, {}
        self._overdue_timer = self._reactor.callLater(self._period, self._overdue)
        done: Deferred[list[SyncError]] = maybeDeferred(self._workers.do, partial(sync_all, self._disk, dirty))
        done.addErrback(_not_done, dirty)
        return done.addCallback(self._done, dirty)

    def _done(self, refused: list[SyncError], dirty: Mapping[Path, bool]) -> None:
        if self._overdue_timer is not None and self._overdue_timer.active():
            self._overdue_timer.cancel()
            self._is_slow = False
        self._overdue_timer = None
        try:
            self._report(refused)
        finally:
            self.mark(
                [path for path, _ in refused if not dirty[path]],
                [path for path, _ in refused if dirty[path]],
            )

    def _overdue(self) -> None:
        self._count("slow_syncs")
        if not self._is_slow:
            self._is_slow = True
            self._log.warn(
                "syncing recordings takes longer than {period:g} s: a loss of power would cost more than promised",
                period=self._period,
            )

    def _report(self, refused: list[SyncError]) -> None:
        for one in refused:
            self._count("disk_errors", "sync")
            if self.fault is None:
                self.fault = f"the disk does not sync recordings: {one.fault.strerror}"
                self._log.error(
                    "the disk does not sync recordings: {reason} {path}; {files} files are tried again",
                    reason=one.fault.strerror,
                    path=str(one.path),
                    files=len(refused),
                )
        if self.fault is not None and not refused:
            self.fault = None
            self._log.info("the disk syncs recordings again")


def _not_done(failure: Failure, dirty: Mapping[Path, bool]) -> list[SyncError]:
    if failure.check(PoolFull):  # there is one round at a time: the pool has stopped, and so has the daemon
        return []
    fault = OSError(errno.EIO, text_of(failure.value))
    return [SyncError(path, fault) for path in dirty]
