"""The spool service: writes recordings in progress (``draft``) and finalizes them (``ready``)."""

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

from audiohookd.interfaces import ISpool, PoolFull
from audiohookd.protocol.media import Media
from audiohookd.runtime.error_text import text_of
from audiohookd.runtime.loops import SupervisedLoop
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
    """Stores recordings below ``directory``.

    :param pools: ``writing`` and ``syncing`` have one thread each. ``finishing`` is a pool of its own, so that an
        ``fsync`` never delays a commit. Its queue holds as many recordings as sessions can end at once; a recording
        that finds it full is finalized later.
    :param intervals: seconds of audio that a ``kill -9`` (``flush``) and a power loss (``sync``) cost at most.
    :param count: as :meth:`audiohookd.observe.counters.Counters.count`.
    """

    name = "spool"
    #: Seconds that its stop may take after a second signal, to write the waiting audio.
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
        """The current disk error, as seen by writes and syncs, or None."""
        return self._writer.fault

    @property
    def loops(self) -> list[SupervisedLoop]:
        """The background loops: commits, syncing, repair."""
        return [*self._writer.loops, self._repairer.loop]

    def prepare(self) -> None:
        """Creates missing directories, and locks the spool until the service stops.

        Blocks: call it at start-up, before the reactor runs.

        :raises OSError: recordings could not be written, or not be moved from ``draft`` to ``ready``, or another
            daemon has locked the spool.
        """
        for directory in (self.layout.directory, self.layout.draft, self.layout.ready):
            directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        for directory in (self.layout.draft, self.layout.ready):
            _check_writable(directory)
        if self.layout.draft.stat().st_dev != self.layout.ready.stat().st_dev:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(self.layout.draft), None, str(self.layout.ready))
        self.lock.hold()

    def startService(self) -> None:
        """Begins to repair drafts that a crash left behind, in the background: new calls do not wait for it."""
        super().startService()
        self._repairer.start()

    def begin(self, recording_id: str, started_at: float, media: Media | None) -> Draft:
        """See :class:`ISpool`. The next commit creates the files."""
        paths = DraftPaths(self.layout.draft, recording_id)
        files = DraftFiles(paths, journal_header(recording_id, started_at, media))
        self._live.add(recording_id)
        return Draft(recording_id, files, self._writer, partial(self._finalize, recording_id, paths))

    def stopService(self) -> "Deferred[None]":
        """Fires when all audio is written, and each finished draft is ready or has failed.

        Then releases the lock of the spool. The pools must run until then.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._settle())

    async def _settle(self) -> None:
        repaired = self._repairer.stop()
        await self._writer.flush()  # first, so that a stop that is cut short does not lose audio
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
        # The pool was full, or the disk never took the journal.
        raise OSError(errno.EAGAIN if failure.check(PoolFull) else errno.EIO, text_of(failure.value))

    def _on_repaired(self, result: RepairResult) -> None:
        self._count("drafts_recovered", result.outcome)
        if result.path is not None:
            self._ready(result.path)


def _check_writable(directory: Path) -> None:
    """Checks that files can be created in ``directory``. A full disk is no error: uploads will free space.

    :raises OSError: a file cannot be created.
    """
    try:
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(error.errno, error.strerror, str(directory)) from error
