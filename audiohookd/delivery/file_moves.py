"""Crash-safe moves and removals of ready recordings. For worker threads: everything here blocks and raises OSError.

A recording is where its sidecar is. An error or ``kill -9`` may interrupt each operation at any point; the files then
on disk are enough to complete it:

- Removal takes the audio, then the sidecar, then receipts and marks. Without the sidecar, leftover receipts and marks
  are garbage. With the sidecar, they show that everything is done, so the removal is repeated.
- A move takes the sidecar, then the audio, then receipts and marks. Once the sidecar has moved, the recording has
  moved, and :func:`recover_moves` moves the rest. Receipts move last: retention does not
  remove a recording without receipts.
- Audio without a sidecar is not touched unless its sidecar has moved: audio enters ``ready`` before the sidecar.

Journaling file systems keep the order of renames and removals. Where one does not, a power loss may cost a receipt,
and the carrier checks its store again. It never costs the only copy of the audio.
"""

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from audiohookd.spool import catalog, paths
from audiohookd.spool.catalog import Recording
from audiohookd.spool.paths import DIRECTORY_MODE, FILE_MODE, SpoolPaths

#: The end of the name of a file that is being written.
TEMP_SUFFIX = ".new"
#: Error numbers of a full disk: it accepts no new file, but can remove one.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class FileOperations:
    """The operations that change the disk, one step each, so that tests can make each step fail."""

    def create(self, path: Path, content: bytes, durable: bool) -> None:
        """Writes a file, replacing an existing one.

        The existing file is unlinked first: it is unfinished, or a link that would lead elsewhere.

        :param durable: whether the content is synced to disk before this returns.
        """
        self.unlink(path)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        try:
            with open(file, "wb") as stream:
                stream.write(content)
                if durable:
                    stream.flush()
                    os.fsync(file)
        except OSError as error:  # of a file descriptor: it has no file name
            raise OSError(error.errno, error.strerror, str(path)) from error

    def rename(self, old: Path, new: Path) -> None:
        """Renames ``old`` to ``new``, replacing an existing file."""
        old.rename(new)

    def unlink(self, path: Path) -> None:
        """Removes ``path`` if it exists."""
        path.unlink(missing_ok=True)

    def mkdir(self, path: Path) -> None:
        """Creates ``path`` in an existing directory."""
        path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)

    def free_bytes(self, directory: Path) -> int:
        """The free bytes of the file system of ``directory``."""
        stat = os.statvfs(directory)
        return stat.f_bavail * stat.f_frsize

    def sync(self, directory: Path) -> None:
        """Syncs the entries of ``directory`` to disk."""
        file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def remove(disk: FileOperations, recording: Recording) -> None:
    """Removes all files of ``recording``."""
    for suffix in _ordered(recording.suffixes, paths.AUDIO, paths.SIDECAR):
        disk.unlink(recording.path(suffix))


def move(disk: FileOperations, recording: Recording, directory: Path) -> None:
    """Moves all files of ``recording`` into ``directory``, the directory of a day."""
    for suffix in _ordered(recording.suffixes, paths.SIDECAR, paths.AUDIO):
        path = recording.path(suffix)
        if suffix.endswith(TEMP_SUFFIX):
            disk.unlink(path)
            continue
        try:
            disk.rename(path, directory / path.name)
        except FileNotFoundError:
            if suffix != paths.AUDIO:  # audio may have been evicted in the meantime
                raise


def dead_letter(disk: FileOperations, recording: Recording, directory: Path, reason: str) -> None:
    """Moves ``recording`` into ``directory``, of a day, with ``reason``. Both are synced to disk when this returns.

    On a full disk the reason is left out: a move needs no space.
    """
    disk.unlink(recording.path(paths.REASON))  # of an earlier dead letter that was moved back by hand
    reason_path = directory / recording.path(paths.REASON).name
    temp_path = reason_path.with_name(reason_path.name + TEMP_SUFFIX)
    try:
        disk.create(temp_path, reason.encode("utf-8"), durable=True)
        disk.rename(temp_path, reason_path)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        disk.unlink(temp_path)
    move(disk, recording, directory)
    for changed in (directory, recording.directory):
        disk.sync(changed)


def make_directory(disk: FileOperations, directory: Path) -> Path:
    """Creates the directory of a day and its parent where they are missing, and returns it."""
    for level in (directory.parent, directory):
        if not level.is_dir():
            disk.mkdir(level)
            disk.sync(level.parent)
    return directory


def recover_moves(disk: FileOperations, spool: SpoolPaths) -> None:
    """Completes moves and removals that the last daemon left unfinished. Nothing else may move files at the same
    time.
    """
    for recording in catalog.iter_recordings(spool.ready):
        if paths.SIDECAR not in recording.suffixes:
            _finish(disk, spool, recording)


def _finish(disk: FileOperations, spool: SpoolPaths, leftover: Recording) -> None:
    for directory in (spool.done / leftover.day, spool.dead / leftover.day):
        if (directory / leftover.sidecar.name).exists():
            move(disk, leftover, directory)
            return
    if paths.AUDIO not in leftover.suffixes:
        for suffix in filter(_is_mark, leftover.suffixes):
            disk.unlink(leftover.path(suffix))


def _ordered(suffixes: Iterable[str], *first: str) -> list[str]:
    """The suffixes in order: those in ``first``, then marks, then receipts."""
    last = sorted(set(suffixes) - set(first), key=lambda suffix: (suffix.startswith("stored."), suffix))
    return [suffix for suffix in first if suffix in suffixes] + last


def _is_mark(suffix: str) -> bool:
    """Whether ``suffix`` is that of a receipt or a mark, finished or not."""
    return suffix.removesuffix(TEMP_SUFFIX).startswith(("stored.", "told.", "refused."))
