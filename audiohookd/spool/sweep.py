"""Removes local copies of recordings that all carriers have stored, and nothing else. For a worker thread.

A pass removes the audio of a recording first, then the sidecar, the receipts last. If it is interrupted, the
remaining receipts tell the next pass that the rest may be removed, too.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from audiohookd.spool import catalog, paths
from audiohookd.spool.catalog import Recording
from audiohookd.spool.paths import SpoolPaths
from audiohookd.spool.safe_files import is_regular

T = TypeVar("T")

#: Seconds without a change after which the empty directory of a day is removed. A directory that was just created, to
#: move a recording there, must stay.
IDLE_DAY = 86_400.0


class RetentionPolicy(Struct, frozen=True):
    """Which local copies are kept."""

    #: Names of the carriers. A recording that one of them has not stored is kept. Without carriers, all are kept.
    carriers: frozenset[str]
    #: Seconds since a recording was stored last.
    local_retention: float
    #: Bytes of all files in the spool. 0: no such limit.
    max_spool: int


class RetentionPass:
    """One pass through the spool, at ``now`` (seconds since the epoch).

    :param is_over: called between two recordings; True ends the pass.
    """

    def __init__(self, spool: SpoolPaths, terms: RetentionPolicy, now: float, is_over: Callable[[], bool]) -> None:
        self._spool = spool
        self._terms = terms
        self._now = now
        self._is_over = is_over
        #: Bytes of all files in the spool.
        self.used = 0
        #: Recordings of which files were removed: after ``local_retention``, and for lack of space.
        self.expired = self.evicted = 0
        #: The first error of a removal. That file stays, and the files that would be removed after it.
        self.fault: OSError | None = None

    def run(self) -> "RetentionPass":
        """Removes the recordings that need not be kept. Returns itself.

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
            # A call that began after the deadline was not stored before it. A day that has not come yet is from a
            # wall clock that was ahead when its calls began.
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
        """The recordings that may be removed for space, the oldest first, with the suffixes of the files to remove.

        Recordings of which only notifications are due come last: these need the sidecar, so only the audio goes.
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
        """Whether a recording in ``done`` may be removed. Also receipts that an interrupted removal left."""
        return self._is_stored(recording) or (bool(recording.carriers) and not _is_any_of_it_here(recording))

    def _is_stored(self, recording: Recording) -> bool:
        """Whether all carriers of the present configuration have stored it."""
        return recording.carriers >= self._terms.carriers

    def _remove(self, recording: Recording, suffixes: list[str]) -> bool:
        """Removes the files. False after a disk error."""
        try:
            for suffix in suffixes:
                self.used -= _unlink(recording.path(suffix))
        except OSError as fault:
            self.fault = self.fault or fault
            return False
        return True

    def _remove_idle_days(self) -> None:
        """Removes idle directories in ``done``. Those in ``ready`` stay: a recording needs its directory."""
        for day in self._until_over(catalog.iter_days(self._spool.done)):
            try:
                if day.stat().st_mtime < self._now - IDLE_DAY:
                    day.rmdir()
            except OSError as fault:
                if fault.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                    self.fault = self.fault or fault

    def _until_over(self, things: Iterable[T]) -> Iterator[T]:
        for thing in things:
            if self._is_over():
                return
            yield thing


def _day_of(seconds: float) -> str:
    return datetime.fromtimestamp(max(0.0, seconds), UTC).strftime("%Y-%m-%d")


def removable(recording: Recording) -> list[str]:
    """The suffixes of its files, in the order of removal. Files of other programs are not included.

    Audio and sidecar are always included: they were written before the receipts, but a listing that was made at the
    same time may lack them.
    """
    marks = [paths.notified_suffix(name) for name in sorted(recording.notifiers)]
    marks += [paths.rejected_suffix(name) for name in sorted(paths.names(recording.suffixes, "refused"))]
    receipts = [paths.stored_suffix(name) for name in sorted(recording.carriers)]
    return [paths.AUDIO, paths.SIDECAR, *marks, *receipts]


def size_below(directory: Path, is_over: Callable[[], bool]) -> int:
    """Bytes of all readable files below ``directory``. Only root can read lost+found."""
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
    except FileNotFoundError:  # it was moved
        return 0


def _is_any_of_it_here(recording: Recording) -> bool:
    """Whether its audio or sidecar exists now: a listing made while it was moved may have only its receipts."""
    return is_regular(recording.sidecar) or is_regular(recording.audio)


def _by_age(day: Path) -> list[Recording]:
    return sorted(catalog.iter_day(day), key=lambda recording: _changed_at(recording.sidecar, 0.0))


def _stored_at(recording: Recording) -> float:
    """When it was stored last. A recording that is being moved counts as new."""
    receipts = [recording.path(paths.stored_suffix(name)) for name in recording.carriers]
    return max(_changed_at(receipt, float("inf")) for receipt in receipts)


def _changed_at(path: Path, default: float) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return default


def _unlink(path: Path) -> int:
    """Removes the file. Returns its size in bytes."""
    try:
        size = path.lstat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    return size
