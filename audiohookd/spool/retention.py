"""Removes recordings that are stored elsewhere from the spool, by age and by the spool's size.

:class:`RetentionPass` does the work in a worker thread; the service :class:`Retention` runs one pass each minute.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from msgspec import Struct
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.escaping import loggable
from audiohookd.interfaces import IWorkers, PoolFull
from audiohookd.runtime.error_text import text_of
from audiohookd.runtime.loops import SupervisedLoop
from audiohookd.spool import catalog, paths
from audiohookd.spool.catalog import Recording
from audiohookd.spool.paths import SpoolPaths
from audiohookd.spool.safe_files import is_regular
from audiohookd.spool.wall_clock import GuardedWallClock

#: Seconds from the start of one pass to the start of the next.
SWEEP_EVERY = 60.0
#: The same while new calls are rejected because the spool is too large: one more stored recording may end that.
HURRY_EVERY = 10.0

MIB = 1 << 20
#: Seconds for which an empty directory of a day must be unchanged before it is removed. A delivery that has just
#: created one is about to move a recording into it.
IDLE_DAY = 86_400.0

T = TypeVar("T")


class RetentionPolicy(Struct, frozen=True):
    """Which recordings may stay in the spool.

    :param carriers: the names of all carriers. Only recordings that all of them have stored are removed; without
        carriers, nothing is.
    :param local_retention: seconds for which a recording stays after it was last stored.
    :param max_spool: bytes of all files in the spool; 0: no limit.
    """

    carriers: frozenset[str]
    local_retention: float
    max_spool: int


class RetentionPass:
    """Removes expired recordings, then the oldest ones while the spool is above ``max_spool``. For a worker thread.

    A recording's audio is removed first, then its sidecar, then its receipts. So after an interruption the files that
    remain show the next pass that they may be removed, too.

    :param now: seconds since the epoch.
    :param is_over: called between recordings; the pass ends when it returns True.
    """

    def __init__(self, spool: SpoolPaths, terms: RetentionPolicy, now: float, is_over: Callable[[], bool]) -> None:
        self._spool = spool
        self._terms = terms
        self._now = now
        self._is_over = is_over
        #: Bytes of all files in the spool.
        self.used = 0
        #: How many recordings lost files: by age, and because of ``max_spool``.
        self.expired = self.evicted = 0
        #: The first error. The file that it concerns stays, and so do the later files of the same recording.
        self.error: OSError | None = None

    def run(self) -> "RetentionPass":
        """Runs the pass.

        :returns: itself.
        :raises OSError: a directory cannot be read.
        """
        self.used = size_below(self._spool.directory, self._is_over)
        if self._terms.carriers:
            self._expire()
            if self._terms.max_spool:
                self._shrink()
            self._remove_idle_days()
        return self

    def _expire(self) -> None:
        deadline = self._now - self._terms.local_retention
        last_day, today = _day_of(deadline), _day_of(self._now)
        for day in catalog.iter_days(self._spool.done):
            # A call that began after the deadline was not stored before it. Days in the future are examined, too: the
            # wall clock was ahead when their calls began.
            if last_day < day.name <= today:
                continue
            for recording in self._until_over(catalog.iter_day(day)):
                if self._may_go(recording) and _stored_at(recording) <= deadline:
                    self.expired += self._remove(recording, removable(recording))

    def _shrink(self) -> None:
        for recording, suffixes in self._until_over(self._candidates()):
            if self.used <= self._terms.max_spool:
                break
            self.evicted += self._remove(recording, suffixes)

    def _candidates(self) -> Iterator[tuple[Recording, list[str]]]:
        """Iterates over recordings that may be evicted, with the suffixes to remove, oldest first.

        Recordings that wait only for notifiers come last, and lose only their audio: notifiers need the sidecar.
        """
        for day in catalog.iter_days(self._spool.done):
            for recording in _by_age(day):
                if self._may_go(recording):
                    yield recording, removable(recording)
        for day in catalog.iter_days(self._spool.ready):
            for recording in _by_age(day):
                if self._is_stored(recording) and paths.AUDIO in recording.suffixes:
                    yield recording, [paths.AUDIO]

    def _may_go(self, recording: Recording) -> bool:
        """Whether a recording in ``done`` may be removed; also receipts that an interrupted removal left."""
        return self._is_stored(recording) or (bool(recording.carriers) and not _exists(recording))

    def _is_stored(self, recording: Recording) -> bool:
        """Whether all carriers of the current configuration have stored the recording."""
        return recording.carriers >= self._terms.carriers

    def _remove(self, recording: Recording, suffixes: list[str]) -> bool:
        """Removes files of a recording; False after an error."""
        try:
            for suffix in suffixes:
                self.used -= _unlink(recording.path(suffix))
        except OSError as error:
            self.error = self.error or error
            return False
        return True

    def _remove_idle_days(self) -> None:
        """Removes empty directories of days in ``done``. In ``ready`` they stay: a recording without its directory
        could not be finalized.
        """
        for day in self._until_over(catalog.iter_days(self._spool.done)):
            try:
                if day.stat().st_mtime < self._now - IDLE_DAY:
                    day.rmdir()
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                    self.error = self.error or error

    def _until_over(self, items: Iterable[T]) -> Iterator[T]:
        for item in items:
            if self._is_over():
                return
            yield item


def _day_of(seconds: float) -> str:
    return datetime.fromtimestamp(max(0.0, seconds), UTC).strftime("%Y-%m-%d")


def removable(recording: Recording) -> list[str]:
    """The suffixes of the recording's files, in the order of removal. Files of other programs are left out.

    Audio and sidecar are always included: a listing of the directory while the recording moves there may miss them.
    """
    marks = [paths.notified_suffix(name) for name in sorted(recording.notifiers)]
    marks += [paths.rejected_suffix(name) for name in sorted(paths.names(recording.suffixes, "refused"))]
    receipts = [paths.stored_suffix(name) for name in sorted(recording.carriers)]
    return [paths.AUDIO, paths.SIDECAR, *marks, *receipts]


def size_below(directory: Path, is_over: Callable[[], bool]) -> int:
    """Bytes of all files below ``directory``, without directories that cannot be read, such as lost+found."""
    size = 0
    waiting = [str(directory)]
    while waiting and not is_over():
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        size += _size(entry)
        except (FileNotFoundError, PermissionError):
            continue
    return size


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:  # moved on in the meantime
        return 0


def _exists(recording: Recording) -> bool:
    """Whether sidecar or audio exist now. A listing while the recording moved there may have only its receipts."""
    return is_regular(recording.sidecar) or is_regular(recording.audio)


def _by_age(day: Path) -> list[Recording]:
    return sorted(catalog.iter_day(day), key=lambda recording: _changed_at(recording.sidecar, 0.0))


def _stored_at(recording: Recording) -> float:
    """When the last carrier stored the recording; infinity while it is being moved or removed."""
    receipts = [recording.path(paths.stored_suffix(name)) for name in recording.carriers]
    return max(_changed_at(receipt, float("inf")) for receipt in receipts)


def _changed_at(path: Path, default: float) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return default


def _unlink(path: Path) -> int:
    """Removes a file if it exists, and returns its size in bytes."""
    try:
        size = path.lstat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    return size


class Retention(Service):
    """Runs retention passes while the service runs. Does nothing without carriers and without ``max_spool``.

    :param now: seconds since the epoch, for the age of files.
    :param workers: a pool with one thread that runs nothing else: a pass through a large spool takes minutes.
    :param count: as :meth:`audiohookd.observe.counters.Counters.count`.
    """

    name = "retention"
    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        now: Callable[[], float],
        workers: IWorkers,
        count: Callable[..., object],
        spool: SpoolPaths,
        terms: RetentionPolicy,
    ) -> None:
        self._clock = GuardedWallClock(now, reactor.seconds)
        self._workers = workers
        self._count = count
        self._spool = spool
        self._terms = terms
        self.loop = SupervisedLoop(reactor, self.name, self._sweep, SWEEP_EVERY, count)
        #: Why new calls must not be accepted: the spool is above ``max_spool``, and nothing can be removed. Or None.
        self.obstacle: str | None = None

    def startService(self) -> None:
        """Begins the first pass at once, without waiting for it."""
        super().startService()
        if self._terms.carriers or self._terms.max_spool:
            self.loop.start()
            self.loop.run()

    def stopService(self) -> None:
        """Stops. A running pass ends after its current recording; the pool waits for that."""
        super().stopService()
        self.loop.stop()

    def _sweep(self) -> "Deferred[None]":
        sweep = RetentionPass(self._spool, self._terms, self._clock.now(), self._is_over)
        swept: Deferred[RetentionPass] = self._workers.do(sweep.run)
        return swept.addCallbacks(self._swept, self._failed)

    def _is_over(self) -> bool:
        """Called between two recordings, in the worker thread. Marks the loop as alive: a pass may take minutes."""
        self.loop.touch()
        return not self.running

    def _swept(self, sweep: RetentionPass) -> None:
        if sweep.expired:
            self._count("recordings_removed", "expired", sweep.expired)
        if sweep.evicted:
            self._count("recordings_removed", "evicted", sweep.evicted)
            self._log.info(
                "spool above max_spool: evicted {count} recordings that are stored elsewhere", count=sweep.evicted
            )
        if sweep.error is not None:
            self._log.error("cannot remove {reason}", reason=_describe(sweep.error))
        self.obstacle = self._find_obstacle(sweep)
        self.loop.period = SWEEP_EVERY if self.obstacle is None else HURRY_EVERY

    def _find_obstacle(self, sweep: RetentionPass) -> str | None:
        if not self._terms.max_spool or sweep.used <= self._terms.max_spool:
            return None
        reason = "the remaining recordings are not stored elsewhere"
        if sweep.error is not None:
            reason = _describe(sweep.error)
        used, limit = -(-sweep.used // MIB), self._terms.max_spool // MIB
        return f"{self._spool.directory} takes {used} MiB, more than max_spool ({limit} MiB): {reason}"

    def _failed(self, failure: Failure) -> Failure | None:
        if failure.check(PoolFull):  # the previous pass hangs: the loop must not count this one as done
            return failure
        error = failure.value
        reason = _describe(error) if isinstance(error, OSError) else text_of(error)
        self._log.error("retention failed, retry in {seconds:g} s: {reason}", seconds=self.loop.period, reason=reason)
        return None


def _describe(error: OSError) -> str:
    return loggable(f"{error.filename}: {error.strerror}")
