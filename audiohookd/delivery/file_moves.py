"""Files of ready recordings on their way out. For worker threads: all of it blocks, and raises OSError.

A recording is where its sidecar is. Each of these may end at any instruction, by a failure or by ``kill -9``, and
from what is on disk then the work can be finished:

- Removing takes the audio, then the sidecar, then receipts and marks. Without the sidecar, what is left of them is
  rubbish. Before that they tell that everything is done, so that it is removed again.
- Moving takes the sidecar, then the audio, then receipts and marks. With the sidecar the recording has moved; what
  is left behind follows it (:func:`tidy`). Receipts come last: what has none is never removed to make room.
- An audio file without a sidecar is never touched, unless that has moved: recordings come into ``ready`` audio first.

Names change on disk in the order in which they were changed here: file systems with a journal see to that. Should one
not, power loss may cost a receipt, and with it another look at the store; never audio that is nowhere else.
"""

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from audiohookd.spool import catalog, paths
from audiohookd.spool.catalog import Recording
from audiohookd.spool.paths import DIRECTORY_MODE, FILE_MODE, SpoolPaths

#: What the name of a file ends with that is being written.
TEMP_SUFFIX = ".new"
#: What the disk says that takes no new file, but may well remove one.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class FileOperations:
    """What changes anything on disk, one step each; in one place, so that tests can fail at each step."""

    def create(self, path: Path, content: bytes, durable: bool) -> None:
        """Writes a file in the place of what is there; when ``durable``, it is on disk when this returns.

        What is there was left unfinished, or put there by somebody: a link would lead anywhere.
        """
        self.unlink(path)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        try:
            with open(file, "wb") as stream:
                stream.write(content)
                if durable:
                    stream.flush()
                    os.fsync(file)
        except OSError as fault:  # which does not know the name
            raise OSError(fault.errno, fault.strerror, str(path)) from fault

    def rename(self, old: Path, new: Path) -> None:
        """Over what is there."""
        old.rename(new)

    def unlink(self, path: Path) -> None:
        """Also when it is not there."""
        path.unlink(missing_ok=True)

    def mkdir(self, path: Path) -> None:
        """Makes ``path``, whose parent is there."""
        path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)

    def sync(self, directory: Path) -> None:
        """What changed in ``directory`` is on disk when this returns."""
        file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def remove(disk: FileOperations, recording: Recording) -> None:
    """All files that it has."""
    for suffix in _ordered(recording.suffixes, paths.AUDIO, paths.SIDECAR):
        disk.unlink(recording.path(suffix))


def move(disk: FileOperations, recording: Recording, directory: Path) -> None:
    """All files that it has into ``directory``, which is one of a day."""
    for suffix in _ordered(recording.suffixes, paths.SIDECAR, paths.AUDIO):
        path = recording.path(suffix)
        if suffix.endswith(TEMP_SUFFIX):
            disk.unlink(path)
            continue
        try:
            disk.rename(path, directory / path.name)
        except FileNotFoundError:
            if suffix != paths.AUDIO:  # that may have been removed meanwhile, to make room
                raise


def dead_letter(disk: FileOperations, recording: Recording, directory: Path, reason: str) -> None:
    """Moves it into ``directory``, one of a day, where it is on disk with the ``reason`` when this returns.

    Without the reason where there is no room for that: moving needs none.
    """
    disk.unlink(recording.path(paths.REASON))  # of an earlier time, moved here by hand
    why = directory / recording.path(paths.REASON).name
    unfinished = why.with_name(why.name + TEMP_SUFFIX)
    try:
        disk.create(unfinished, reason.encode("utf-8"), durable=True)
        disk.rename(unfinished, why)
    except OSError as fault:
        if fault.errno not in NO_ROOM:
            raise
        disk.unlink(unfinished)
    move(disk, recording, directory)
    for changed in (directory, recording.directory):
        disk.sync(changed)


def make_directory(disk: FileOperations, directory: Path) -> Path:
    """The directory of a day, made with its shelf where they are missing."""
    for place in (directory.parent, directory):
        if not place.is_dir():
            disk.mkdir(place)
            disk.sync(place.parent)
    return directory


def recover_moves(disk: FileOperations, spool: SpoolPaths) -> None:
    """Finishes what was being moved, or removed, when the last daemon ended. While nothing else moves anything."""
    for recording in catalog.iter_recordings(spool.ready):
        if paths.SIDECAR not in recording.suffixes:
            _finish(disk, spool, recording)


def _finish(disk: FileOperations, spool: SpoolPaths, rest: Recording) -> None:
    for home in (spool.done / rest.day, spool.dead / rest.day):
        if (home / rest.sidecar.name).exists():
            move(disk, rest, home)
            return
    if paths.AUDIO not in rest.suffixes:
        for suffix in filter(_is_mark, rest.suffixes):
            disk.unlink(rest.path(suffix))


def _ordered(suffixes: Iterable[str], *first: str) -> list[str]:
    """Those that go first; then marks, then receipts."""
    last = sorted(set(suffixes) - set(first), key=lambda suffix: (suffix.startswith("stored."), suffix))
    return [suffix for suffix in first if suffix in suffixes] + last


def _is_mark(suffix: str) -> bool:
    """Of a receipt or of a mark, be it finished or not."""
    return suffix.removesuffix(TEMP_SUFFIX).startswith(("stored.", "told.", "refused."))
