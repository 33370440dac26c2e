"""Logs the syncs of a daemon for a simulated power loss.

Python imports it at its start from PYTHONPATH. For each sync it logs when it began, with the size of a file or the
names in a directory: a sync may end after one that began later. Each synced file gets a hard link in the directory of
the log, so that it can be restored.
"""

import json
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_LOG = os.environ.get("POWER_LOG", "")


def _noting(sync: Callable[[Any], None], log: int) -> Callable[[Any], None]:
    def sync_and_note(file: Any) -> None:
        number = file if isinstance(file, int) else file.fileno()
        note = _directory(number) if stat.S_ISDIR(os.fstat(number).st_mode) else _file(number)
        sync(number)  # earlier data is on disk when this returns, and possibly later data
        os.write(log, json.dumps(note).encode() + b"\n")

    return sync_and_note


def _noting_all(sync: Callable[[int], None], log: int) -> Callable[[int], None]:
    """Logs only the given directory for a sync of the file system, so that the daemon cannot rely on the rest."""

    def sync_and_note_all(number: int) -> None:
        directory = os.readlink(f"/proc/self/fd/{number}")
        at = time.monotonic()
        files = [entry.stat() for entry in os.scandir(directory) if entry.is_file(follow_symlinks=False)]
        notes = [_directory(number), *({"at": at, "file": file.st_ino, "size": file.st_size} for file in files)]
        sync(number)
        os.write(log, b"".join(json.dumps(note).encode() + b"\n" for note in notes))

    return sync_and_note_all


def _file(number: int) -> dict[str, Any]:
    at, status = time.monotonic(), os.fstat(number)
    _keep(os.readlink(f"/proc/self/fd/{number}"), status.st_ino)
    return {"at": at, "file": status.st_ino, "size": status.st_size}


def _directory(number: int) -> dict[str, Any]:
    at, path = time.monotonic(), os.readlink(f"/proc/self/fd/{number}")
    names = {}
    for entry in os.scandir(path):
        if entry.is_file(follow_symlinks=False):
            names[entry.name] = entry.inode()
            _keep(entry.path, entry.inode())
    return {"at": at, "directory": path, "names": names}


def _keep(path: str, inode: int) -> None:
    with suppress(FileExistsError, FileNotFoundError):  # linked before, or removed since
        os.link(path, f"{_LOG}.{inode}")


if _LOG:
    _log = os.open(_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
    os.fsync = _noting(os.fsync, _log)  # type: ignore[assignment]
    os.fdatasync = _noting(os.fdatasync, _log)  # type: ignore[assignment]
    from audiohookd.spool.write import linux_fs  # before another module imports the function from there

    linux_fs.sync_file_system = _noting_all(linux_fs.sync_file_system, _log)  # type: ignore[assignment]
