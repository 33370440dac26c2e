"""The spool: where recordings grow (``draft``), and where those are that can be carried away (``ready``)."""

import errno
import os
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from audiohookd.interfaces import ISpool, IWorkers
from audiohookd.protocol.media import Media
from audiohookd.runtime.workers import PoolFull
from audiohookd.spool.draft import Draft
from audiohookd.spool.files import DIRECTORY_MODE, DraftFiles, DraftPaths
from audiohookd.spool.journal import facts_of
from audiohookd.spool.lock import lock
from audiohookd.spool.ready import make_ready
from audiohookd.spool.writer import GroupWriter, Limits

T = TypeVar("T")


@implementer(ISpool)
class Spool(Service):
    """Recordings below ``directory``.

    :param flush_interval: seconds between commits; what a ``kill -9`` loses at most. Power loss may cost more:
        only what is ready is synced.
    :param writing: a pool with one thread, for the commits alone.
    :param finishing: a pool of its own, so that an ``fsync`` never delays a commit. As many recordings may wait for
        it as sessions can end at once; one more stays a draft.
    """

    name = "spool"

    def __init__(
        self,
        reactor: IReactorTime,
        directory: Path,
        flush_interval: float,
        writing: IWorkers,
        finishing: IWorkers,
        limits: Limits | None = None,
    ) -> None:
        self._directory = directory
        self._draft = directory / "draft"
        self._ready = directory / "ready"
        self._finishing = finishing
        self._writer = GroupWriter(reactor, writing, flush_interval, limits or Limits())
        self._unfinished: set[Deferred[None]] = set()
        self._lock: int | None = None

    def prepare(self) -> None:
        """Makes the directories where they are missing, and takes the spool for this process until it is stopped.

        Blocks: for the start-up, before the reactor runs.

        :raises OSError: a recording could not be written, or not be moved from draft to ready; or another daemon has
            the spool.
        """
        for directory in (self._directory, self._draft, self._ready):
            directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        for directory in (self._draft, self._ready):
            tempfile.TemporaryFile(dir=directory).close()
        if self._draft.stat().st_dev != self._ready.stat().st_dev:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(self._draft), None, str(self._ready))
        if self._lock is None:
            self._lock = lock(self._directory / "lock")

    def begin(self, recording_id: str, started_at: float, media: Media | None) -> Draft:
        """See :class:`ISpool`. The files are made with the next commit."""
        paths = DraftPaths(self._draft, recording_id)
        files = DraftFiles(paths, facts_of(recording_id, started_at, media))
        return Draft(recording_id, files, self._writer, partial(self._make_ready, paths))

    def stopService(self) -> "Deferred[None]":
        """Fires when all that was given is written, and every draft that is being finished is ready, or has failed.

        Then another daemon may have the spool. Both pools must run until then.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._settle())

    async def _settle(self) -> None:
        await self._writer.flush()
        while self._unfinished:
            await self._unfinished.pop()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _make_ready(self, paths: DraftPaths, recording: Mapping[str, Any]) -> "Deferred[Path]":
        result: Deferred[Path] = self._finishing.do(partial(make_ready, paths, self._ready, recording))
        result.addErrback(_as_os_error)
        settled: Deferred[None] = Deferred()
        self._unfinished.add(settled)

        def pass_on(outcome: T) -> T:
            self._unfinished.discard(settled)
            settled.callback(None)
            return outcome

        return result.addBoth(pass_on)


def _as_os_error(failure: Failure) -> Failure:
    if failure.check(PoolFull):
        raise OSError(errno.EAGAIN, failure.getErrorMessage())
    return failure
