"""Locks a spool for one daemon.

The lock has two parts. The file ``lock`` also excludes daemons on other machines, over a network file system. But it
can be removed, and another daemon could then create and lock a new one, so the directory ``draft`` is locked too.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock as ThreadLock
from typing import NamedTuple

from twisted.logger import Logger

from audiohookd.spool.paths import FILE_MODE, SpoolPaths

#: ``struct flock`` of the system: type, whence, start, length (0: to the end), process. Open file description locks
#: belong to the open file, as with flock(2). Unlike flock(2), they can be tested without being taken.
_FLOCK = struct.Struct("@hhqqi4x")
_WRITING, _READING = (_FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0) for kind in (fcntl.F_WRLCK, fcntl.F_RDLCK))

_REPLACED = "was replaced, and is locked by another daemon: stop one of the two"


class _Held(NamedTuple):
    """A locked file descriptor, and the stat result of its file."""

    file: int
    stat: os.stat_result


class Lock:
    """The lock of a spool. Its methods may block on the disk, but never wait for another daemon.

    The system releases the lock when the process ends, also after a crash. A process that daemonizes keeps it.

    :param stat: as :func:`os.stat`.
    """

    _log = Logger()

    def __init__(self, spool: SpoolPaths, stat: Callable[[Path], os.stat_result] = os.stat) -> None:
        self._spool = spool
        self._stat = stat
        self._held: dict[Path, _Held] = {}
        self._mutex = ThreadLock()  # guards _held; never held during disk access

    def hold(self) -> None:
        """Takes the lock. Does nothing if it is held.

        :raises OSError: another daemon has the lock (EWOULDBLOCK), or a file operation failed.
        """
        try:
            for path in (self._spool.lock, self._spool.draft):
                if path not in self._held:
                    self._held[path] = self._take(path)
        except OSError:
            self.release()
            raise

    def keep(self) -> None:
        """Locks again the parts that were removed or replaced since :meth:`hold`. Runs in any thread.

        Does nothing if the lock is not held. The daemon continues to accept calls unless another daemon has locked
        the replacement first, which on the same machine requires that ``draft`` itself was replaced. The operator
        must then decide which of the two daemons to stop.

        :raises OSError: another daemon has the lock (EWOULDBLOCK), or a file operation failed. The locks that are
            held stay held.
        """
        with self._mutex:
            held = list(self._held.items())
        for path, before in held:
            if not self._is_at(path, before) and self._replace(path, before, self._take(path, _REPLACED)):
                self._log.warn("{path} was removed or replaced while in use: locked the spool again", path=str(path))

    def release(self) -> None:
        """Releases the lock. Does nothing if it is not held; does not wait for a running :meth:`keep`."""
        with self._mutex:
            held, self._held = self._held, {}
        for part in held.values():
            os.close(part.file)

    def _replace(self, path: Path, before: _Held, taken: _Held) -> bool:
        """Replaces ``before`` by ``taken``. If ``before`` has been released, releases ``taken`` and returns False."""
        with self._mutex:
            is_held = self._held.get(path) is before
            if is_held:
                self._held[path] = taken
        os.close(before.file if is_held else taken.file)
        return is_held

    def _is_at(self, path: Path, held: _Held) -> bool:
        """Whether the file at ``path`` is the locked one.

        Does not use fstat: after a release, the descriptor's number may belong to another file.
        """
        with suppress(FileNotFoundError):
            return os.path.samestat(self._stat(path), held.stat)
        return False

    def _take(self, path: Path, refusal: str = "in use by another daemon") -> _Held:
        if path == self._spool.lock:
            return _take(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _WRITING, refusal)
        # A directory cannot be opened for writing, so only a read lock is possible, which several daemons can hold. A
        # daemon that finds another's lock releases its own. Two at the same instant would both do so, but a daemon
        # gets here only after it has locked the file.
        return _take(path, os.O_RDONLY | os.O_DIRECTORY, _READING, refusal)


def is_locked(spool: SpoolPaths) -> bool:
    """Whether a daemon has locked the spool. Does not lock it, so a daemon may start at the same time.

    :raises OSError: a part of the lock cannot be opened or tested.
    """
    return any(_is_locked(path) for path in (spool.lock, spool.draft))


def _is_locked(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return _is_locked_by_other(file)
    finally:
        os.close(file)


def _take(path: Path, flags: int, kind: bytes, refusal: str) -> _Held:
    file = os.open(path, flags | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, kind)
        if _is_locked_by_other(file):
            raise BlockingIOError(errno.EAGAIN, "")
        return _Held(file, os.fstat(file))
    except OSError as error:
        os.close(file)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise OSError(errno.EWOULDBLOCK, refusal, str(path)) from None
        raise OSError(error.errno, error.strerror, str(path)) from error


def _is_locked_by_other(file: int) -> bool:
    kind: int = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_OFD_GETLK, _WRITING))[0]
    return kind != fcntl.F_UNLCK
