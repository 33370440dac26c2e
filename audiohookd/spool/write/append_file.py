"""An append-only file that can be truncated after a failed write. Only for the writer thread."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from audiohookd.spool.paths import FILE_MODE
from audiohookd.spool.write.linux_fs import sync_file_system

#: O_EXCL: never overwrites another recording, and does not follow links (open(2)).
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_IOV_MAX = os.sysconf("SC_IOV_MAX")
_PORTION = 1 << 20


class Syscalls(NamedTuple):
    """The system calls that may fail on a disk error. Tests replace them."""

    open: Callable[[Path, int, int], int] = os.open
    write: Callable[[int, Sequence[bytes | memoryview], int], int] = os.pwritev
    truncate: Callable[[int, int], None] = os.ftruncate
    close: Callable[[int], None] = os.close
    sync_data: Callable[[int], None] = os.fdatasync
    sync: Callable[[int], None] = os.fsync
    sync_all: Callable[[int], None] = sync_file_system  # the whole file system of an open file
    read: Callable[[int, int, int], bytes] = os.pread


#: The real system calls.
SYSCALLS = Syscalls()


class AppendFile:
    """A file at ``path``, created by the first write. All methods raise OSError with the path in it."""

    def __init__(self, path: Path, disk: Syscalls) -> None:
        self.path = path
        #: Bytes that were written and not truncated since.
        self.size = 0
        self._disk = disk
        self._file: int | None = None
        self._is_torn = False

    def append(self, pieces: Sequence[bytes]) -> None:
        """Writes all ``pieces``, in as few system calls as possible.

        :raises OSError: a write failed. ``size`` counts the bytes that were written, possibly up to the middle of a
            piece.
        :raises TypeError: a piece is not bytes. The same applies to ``size``.
        """
        try:
            file = self._open()
            for start in range(0, len(pieces), _IOV_MAX):
                self._write(file, pieces[start : start + _IOV_MAX])
        except OSError as error:
            raise self._at_path(error) from error

    def truncate(self, size: int) -> None:
        """Truncates the file to ``size`` bytes: at once or, if the disk refuses, before the next write."""
        self._is_torn = self._is_torn or size < self.size
        self.size = size
        if self._is_torn and self._file is not None:
            try:
                self._truncate_torn(self._file)
            except OSError:
                return  # retried before the next write

    def read(self, start: int) -> Iterator[bytes]:
        """Reads the written bytes from ``start`` to the end, in portions.

        :raises OSError: a read failed, or the file is shorter than it should be.
        """
        try:
            file = self._open()
            while start < self.size:
                portion = self._disk.read(file, min(self.size - start, _PORTION), start)
                if not portion:
                    raise OSError(errno.EIO, "the file is shorter than the data written to it")
                start += len(portion)
                yield portion
        except OSError as error:
            raise self._at_path(error) from error

    def close(self) -> None:
        """Closes the file. Does nothing if it is not open."""
        file, self._file = self._file, None
        if file is not None:
            try:
                self._disk.close(file)
            except OSError as error:
                raise self._at_path(error) from error

    def _open(self) -> int:
        if self._file is None:
            self._file = self._disk.open(self.path, _NEW, FILE_MODE)
        if self._is_torn:
            self._truncate_torn(self._file)
        return self._file

    def _truncate_torn(self, file: int) -> None:
        self._disk.truncate(file, self.size)
        self._is_torn = False

    def _write(self, file: int, pieces: Sequence[bytes]) -> None:
        left = sum(map(len, pieces))
        if not left:
            return
        written = self._disk.write(file, pieces, self.size)
        self.size += written
        if written < left:
            self._write_rest(file, list(pieces), written)

    def _write_rest(self, file: int, rest: list[bytes | memoryview], written: int) -> None:
        while True:
            _advance(rest, written)
            if not rest:
                return
            written = self._disk.write(file, rest, self.size)
            self.size += written

    def _at_path(self, error: OSError) -> OSError:
        return OSError(error.errno, error.strerror, str(self.path))


def _advance(pieces: list[bytes | memoryview], written: int) -> None:
    """Removes the first ``written`` bytes from ``pieces``."""
    whole = 0
    while whole < len(pieces) and len(pieces[whole]) <= written:
        written -= len(pieces[whole])
        whole += 1
    del pieces[:whole]
    if written:
        pieces[0] = memoryview(pieces[0])[written:]
