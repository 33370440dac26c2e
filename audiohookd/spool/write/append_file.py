"""A file that grows, as far as the disk allows. For the writer's thread alone."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from audiohookd.spool.paths import FILE_MODE
from audiohookd.spool.write.linux_fs import sync_file_system

#: Never over an old one: so a recording cannot eat another. Nor through a link (open(2) follows none with O_EXCL).
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_IOV_MAX = os.sysconf("SC_IOV_MAX")
_PORTION = 1 << 20


class Syscalls(NamedTuple):
    """The calls of the system that a disk may refuse. Tests put others in their place."""

    open: Callable[[Path, int, int], int] = os.open
    write: Callable[[int, Sequence[bytes | memoryview], int], int] = os.pwritev
    truncate: Callable[[int, int], None] = os.ftruncate
    close: Callable[[int], None] = os.close
    sync_data: Callable[[int], None] = os.fdatasync
    sync: Callable[[int], None] = os.fsync
    sync_all: Callable[[int], None] = sync_file_system  # of the file system of an open file
    read: Callable[[int, int, int], bytes] = os.pread


#: The system's own.
SYSCALLS = Syscalls()


class AppendFile:
    """A file at ``path``, made when first written to. All its methods raise OSError with the path in it."""

    def __init__(self, path: Path, disk: Syscalls) -> None:
        self.path = path
        #: Bytes that were written, and not cut off since.
        self.size = 0
        self._disk = disk
        self._file: int | None = None
        self._is_torn = False

    def append(self, pieces: Sequence[bytes]) -> None:
        """Writes all ``pieces``, in as few calls as the system allows.

        :raises OSError: ``size`` says how far it came, and it may be in the middle of a piece.
        :raises TypeError: a piece is no bytes; as for ``size``, the same.
        """
        try:
            file = self._open()
            for start in range(0, len(pieces), _IOV_MAX):
                self._write(file, pieces[start : start + _IOV_MAX])
        except OSError as fault:
            raise self._at_path(fault) from fault

    def truncate(self, size: int) -> None:
        """Takes away what is beyond ``size``: at once, or else before more is written."""
        self._is_torn = self._is_torn or size < self.size
        self.size = size
        if self._is_torn and self._file is not None:
            try:
                self._truncate_torn(self._file)
            except OSError:
                return  # a disk that refuses this refuses to write as well, and until then nothing else is done

    def read(self, start: int) -> Iterator[bytes]:
        """What was written from the byte ``start`` on, in portions."""
        try:
            file = self._open()
            while start < self.size:
                portion = self._disk.read(file, min(self.size - start, _PORTION), start)
                if not portion:
                    raise OSError(errno.EIO, "the file is shorter than what was written")
                start += len(portion)
                yield portion
        except OSError as fault:
            raise self._at_path(fault) from fault

    def close(self) -> None:
        """Closes it, if it is open."""
        file, self._file = self._file, None
        if file is not None:
            try:
                self._disk.close(file)
            except OSError as fault:
                raise self._at_path(fault) from fault

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

    def _at_path(self, fault: OSError) -> OSError:
        return OSError(fault.errno, fault.strerror, str(self.path))


def _advance(pieces: list[bytes | memoryview], written: int) -> None:
    """Takes the first ``written`` bytes away from ``pieces``."""
    whole = 0
    while whole < len(pieces) and len(pieces[whole]) <= written:
        written -= len(pieces[whole])
        whole += 1
    del pieces[:whole]
    if written:
        pieces[0] = memoryview(pieces[0])[written:]
