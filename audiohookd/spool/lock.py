"""One daemon to a spool.

It holds two things: the file ``lock``, which over a network file system is seen from other machines, too, and the
directory ``draft`` itself, for a file can be removed, and then whoever makes the next one has a lock of his own.
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

#: `struct flock` of the system: type, whence, start, length (0: to the end), process. Locks of this kind belong to
#: the open file, like those of flock(2), and unlike those they can be asked for without being taken.
_FLOCK = struct.Struct("@hhqqi4x")
_WRITING, _READING = (_FLOCK.pack(kind, os.SEEK_SET, 0, 0, 0) for kind in (fcntl.F_WRLCK, fcntl.F_RDLCK))

_REPLACED = "was replaced, and is held by another daemon: stop one of the two"


class _Held(NamedTuple):
    """An open file, and what it is."""

    file: int
    stat: os.stat_result


class Lock:
    """The lock of a spool. Waits for nobody, but for the disk.

    The end of the process, whatever it is, releases it. A process that daemonizes keeps it.

    :param stat: as :func:`os.stat`.
    """

    _log = Logger()

    def __init__(self, spool: SpoolPaths, stat: Callable[[Path], os.stat_result] = os.stat) -> None:
        self._spool = spool
        self._stat = stat
        self._held: dict[Path, _Held] = {}
        self._exchange = ThreadLock()  # of what is held; nobody asks the disk for anything meanwhile

    def hold(self) -> None:
        """Takes it. Harmless when it is held.

        :raises OSError: somebody else has it (EWOULDBLOCK), or it cannot be had at all.
        """
        try:
            for path in (self._spool.lock, self._spool.draft):
                if path not in self._held:
                    self._held[path] = self._take(path)
        except OSError:
            self.release()
            raise

    def keep(self) -> None:
        """Takes again what was removed, or replaced, since it was taken; nothing of what is not held. In any thread.

        That is all there is to do, and no call need be refused, unless another daemon was quicker: on this machine
        only where ``draft`` itself was replaced. Which of the two has to go, nobody knows but the sysadmin.

        :raises OSError: it is somebody else's (EWOULDBLOCK), or cannot be had. What is held stays held.
        """
        with self._exchange:
            held = list(self._held.items())
        for path, before in held:
            if not self._is_at(path, before) and self._replace(path, before, self._take(path, _REPLACED)):
                self._log.warn("{path} was removed or replaced while the daemon has the spool", path=str(path))

    def release(self) -> None:
        """Another one may have it. Harmless when it is not held; does not wait for a ``keep`` under way."""
        with self._exchange:
            held, self._held = self._held, {}
        for each in held.values():
            os.close(each.file)

    def _replace(self, path: Path, before: _Held, taken: _Held) -> bool:
        """False if ``before`` was released meanwhile: then ``taken`` is, too."""
        with self._exchange:
            is_held = self._held.get(path) is before
            if is_held:
                self._held[path] = taken
        os.close(before.file if is_held else taken.file)
        return is_held

    def _is_at(self, path: Path, held: _Held) -> bool:
        """Does not ask the open file, whose number may be another one's by now."""
        with suppress(FileNotFoundError):
            return os.path.samestat(self._stat(path), held.stat)
        return False

    def _take(self, path: Path, refusal: str = "in use by another daemon") -> _Held:
        if path == self._spool.lock:
            return _take(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _WRITING, refusal)
        # A directory cannot be opened for writing, so several can have the lock on it, and whoever sees another one
        # lets go. Of two at the same instant that would be both, but who comes here has the file already.
        return _take(path, os.O_RDONLY | os.O_DIRECTORY, _READING, refusal)


def is_locked(spool: SpoolPaths) -> bool:
    """Whether somebody has the spool. Nobody is kept from taking it meanwhile.

    :raises OSError: it cannot be told.
    """
    return any(_is_locked(path) for path in (spool.lock, spool.draft))


def _is_locked(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return _is_anothers(file)
    finally:
        os.close(file)


def _take(path: Path, flags: int, kind: bytes, refusal: str) -> _Held:
    file = os.open(path, flags | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, kind)
        if _is_anothers(file):
            raise BlockingIOError(errno.EAGAIN, "")
        return _Held(file, os.fstat(file))
    except OSError as fault:
        os.close(file)
        if fault.errno in (errno.EAGAIN, errno.EACCES):
            raise OSError(errno.EWOULDBLOCK, refusal, str(path)) from None
        raise OSError(fault.errno, fault.strerror, str(path)) from fault


def _is_anothers(file: int) -> bool:
    kind: int = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_OFD_GETLK, _WRITING))[0]
    return kind != fcntl.F_UNLCK
