"""The spool: where recordings grow (``draft``), and where those are that can be carried away (``ready``)."""

import errno
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from audiohookd.interfaces import ISpool
from audiohookd.protocol.media import Media
from audiohookd.runtime.error_text import text_of
from audiohookd.runtime.loops import SupervisedLoop
from audiohookd.runtime.workers import PoolFull
from audiohookd.spool.draft import Draft
from audiohookd.spool.finalize import finalize_draft
from audiohookd.spool.format.journal import journal_header
from audiohookd.spool.lock import Lock
from audiohookd.spool.paths import DIRECTORY_MODE, SpoolPaths
from audiohookd.spool.repair import RepairResult
from audiohookd.spool.repair_service import DraftRepairer
from audiohookd.spool.write.draft_files import DraftFiles, DraftPaths
from audiohookd.spool.write.group_commit import CommitLimits, GroupWriter, Intervals, Pools

T = TypeVar("T")


@implementer(ISpool)
class Spool(Service):
    """Recordings below ``directory``.

    :param pools: ``writing`` and ``syncing`` have one thread each. ``finishing`` is a pool of its own, so that an
        ``fsync`` never delays a commit. As many recordings may wait for it as sessions can end at once; one more is
        finished later.
    :param intervals: seconds; what a ``kill -9`` (``flush``) and the loss of power (``sync``) cost at most.
    :param count: as :meth:`audiohookd.observe.counters.Counters.count`.
    """

    name = "spool"
    #: Seconds for its stop after a second signal, to write what it was given.
    hurried_limit = 1.0

    def __init__(
        self,
        reactor: IReactorTime,
        directory: Path,
        pools: Pools,
        intervals: Intervals,
        count: Callable[..., object],
        limits: CommitLimits | None = None,
    ) -> None:
        self.layout = SpoolPaths(directory)
        self.lock = Lock(self.layout)
        self._ready_observers: list[Callable[[Path], None]] = []
        self._finishing = pools.finishing
        self._count = count
        self._writer = GroupWriter(reactor, pools, intervals, limits or CommitLimits(), count)
        self._live: set[str] = set()
        self._repairer = DraftRepairer(reactor, pools.finishing, self.layout, self._live, self._on_repaired, count)
        self._unfinished: set[Deferred[None]] = set()

    @property
    def fault(self) -> str | None:
        """What is wrong with the disk just now, as far as writing to it tells; None when nothing is."""
        return self._writer.fault

    @property
    def loops(self) -> list[SupervisedLoop]:
        """What goes on all the time: commits, syncing, repair."""
        return [*self._writer.loops, self._repairer.loop]

    def prepare(self) -> None:
        """Makes the directories where they are missing, and takes the spool for this process until it is stopped.

        Blocks: for the start-up, before the reactor runs.

        :raises OSError: a recording could not be written, or not be moved from draft to ready; or another daemon has
            the spool.
        """
        for directory in (self.layout.directory, self.layout.draft, self.layout.ready):
            directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        for directory in (self.layout.draft, self.layout.ready):
            _check_writable(directory)
        if self.layout.draft.stat().st_dev != self.layout.ready.stat().st_dev:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(self.layout.draft), None, str(self.layout.ready))
        self.lock.hold()

    def startService(self) -> None:
        """Begins to repair what a crash left behind, in the background: new calls do not wait for it."""
        super().startService()
        self._repairer.start()

    def begin(self, recording_id: str, started_at: float, media: Media | None) -> Draft:
        """See :class:`ISpool`. The files are made with the next commit."""
        paths = DraftPaths(self.layout.draft, recording_id)
        files = DraftFiles(paths, journal_header(recording_id, started_at, media))
        self._live.add(recording_id)
        return Draft(recording_id, files, self._writer, partial(self._finalize, recording_id, paths))

    def stopService(self) -> "Deferred[None]":
        """Fires when all that was given is written, and every draft that is being finished is ready, or has failed.

        Then another daemon may have the spool. The pools must run until then.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._settle())

    async def _settle(self) -> None:
        repaired = self._repairer.stop()
        await self._writer.flush()  # first: a stop that is cut short must not cost audio
        await repaired
        while self._unfinished:
            await self._unfinished.pop()
        self.lock.release()

    def _finalize(self, recording_id: str, paths: DraftPaths) -> "Deferred[Path]":
        result: Deferred[Path] = self._finishing.do(partial(finalize_draft, paths, self.layout.ready))
        settled: Deferred[None] = Deferred()
        self._unfinished.add(settled)

        def pass_on(outcome: T) -> T:
            self._live.discard(recording_id)
            self._unfinished.discard(settled)
            settled.callback(None)
            return outcome

        return result.addCallbacks(self._ready, self._not_ready).addBoth(pass_on)

    def add_ready_observer(self, observer: Callable[[Path], None]) -> None:
        """Calls ``observer`` with the path of each recording that becomes ready, in the reactor's thread."""
        self._ready_observers.append(observer)

    def _ready(self, path: Path) -> Path:
        for observer in self._ready_observers:
            observer(path)
        return path

    def _not_ready(self, failure: Failure) -> Failure:
        self._repairer.retry()
        if failure.check(OSError):
            return failure
        # No room in the pool, or a journal that the disk never took.
        raise OSError(errno.EAGAIN if failure.check(PoolFull) else errno.EIO, text_of(failure.value))

    def _on_repaired(self, mended: RepairResult) -> None:
        self._count("drafts_recovered", mended.outcome)
        if mended.path is not None:
            self._ready(mended.path)


def _check_writable(directory: Path) -> None:
    """A file can be made there; but a disk that is full is no reason not to start: uploads make room."""
    try:
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as fault:
        if fault.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(fault.errno, fault.strerror, str(directory)) from fault
