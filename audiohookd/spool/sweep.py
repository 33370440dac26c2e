"""Making room in the spool: recordings that all carriers have stored go, nothing else. For a worker thread.

A recording's audio goes first, then its sidecar, its receipts last: wherever that is cut short, what is left tells
the next sweep that it may go, too.
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

#: Seconds in which nothing came and went in an empty directory of a day, before it goes: who makes one, to move a
#: recording there, shall find it.
IDLE_DAY = 86_400.0


class RetentionPolicy(Struct, frozen=True):
    """What may stay."""

    #: The names of those that store recordings elsewhere. What one of them has not stored stays. Without any, nothing
    #: is ever removed.
    carriers: frozenset[str]
    #: Seconds, since a recording was stored last.
    local_retention: float
    #: Bytes of all files in the spool. 0: no such limit.
    max_spool: int


class RetentionPass:
    """One way through the spool, at ``now`` (seconds since the epoch).

    :param is_over: asked again and again: is there no time to go on?
    """

    def __init__(self, spool: SpoolPaths, terms: RetentionPolicy, now: float, is_over: Callable[[], bool]) -> None:
        self._spool = spool
        self._terms = terms
        self._now = now
        self._is_over = is_over
        #: Bytes of all files in the spool.
        self.used = 0
        #: Recordings of which files went: because their time was over, and because there was no room.
        self.expired = self.evicted = 0
        #: The first thing that the disk would not give up. It stays, and so does what was to go after it.
        self.fault: OSError | None = None

    def run(self) -> "RetentionPass":
        """Removes what has to go. Returns itself.

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
        """What may go while there is no room, and which files of it: the oldest first.

        Last comes the audio of what is not done, but for the notices of it: they need the sidecar alone.
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
        """Of what is done: also the receipts that a removal left which was cut short."""
        return self._is_stored(recording) or (bool(recording.carriers) and not _is_any_of_it_here(recording))

    def _is_stored(self, recording: Recording) -> bool:
        """By all who store recordings now, whoever did so when it was delivered."""
        return recording.carriers >= self._terms.carriers

    def _remove(self, recording: Recording, suffixes: list[str]) -> bool:
        """False when the disk refused."""
        try:
            for suffix in suffixes:
                self.used -= _unlink(recording.path(suffix))
        except OSError as fault:
            self.fault = self.fault or fault
            return False
        return True

    def _remove_idle_days(self) -> None:
        """Of those in ``ready`` none goes: a recording that finds no directory there at its end stays a draft."""
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
    """The suffixes of its files, in the order in which they may be removed. Files that are not ours are not in it.

    Audio and sidecar always are: they came before the receipts, but who lists a directory meanwhile may miss them.
    """
    marks = [paths.notified_suffix(name) for name in sorted(recording.notifiers)]
    marks += [paths.rejected_suffix(name) for name in sorted(paths.names(recording.suffixes, "refused"))]
    receipts = [paths.stored_suffix(name) for name in sorted(recording.carriers)]
    return [paths.AUDIO, paths.SIDECAR, *marks, *receipts]


def size_below(directory: Path, is_over: Callable[[], bool]) -> int:
    """Bytes of all files below ``directory``, as far as one gets: lost+found is root's alone."""
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


def _is_any_of_it_here(recording: Recording) -> bool:
    """As the disk has it now: who listed the day while it was moved there may have seen its receipts alone."""
    return is_regular(recording.sidecar) or is_regular(recording.audio)


def _by_age(day: Path) -> list[Recording]:
    return sorted(catalog.iter_day(day), key=lambda recording: _changed_at(recording.sidecar, 0.0))


def _stored_at(recording: Recording) -> float:
    """When it was stored last; what is just being moved away is new."""
    receipts = [recording.path(paths.stored_suffix(name)) for name in recording.carriers]
    return max(_changed_at(receipt, float("inf")) for receipt in receipts)


def _changed_at(path: Path, default: float) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return default


def _unlink(path: Path) -> int:
    """The bytes that it had."""
    try:
        size = path.lstat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    return size
