"""A file, or a part of it, as the body of a request, without reading it into memory."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

#: Bytes per read for a checksum.
BLOCK = 1 << 20


class FileSlice:
    """``size`` bytes of the file ``path`` from ``start``, as a seekable file for botocore.

    As a context manager it closes the file. botocore would report an error of a read as a connection failure, so the
    error is kept in ``error``, too.

    :param check: called before each read; an exception from it ends the request.
    """

    def __init__(self, path: Path, start: int, size: int, check: Callable[[], None]) -> None:
        self._file = path.open("rb", buffering=0)
        self._start, self._size, self._at = start, size, 0
        self._check = check
        self.error: Exception | None = None

    def __enter__(self) -> "FileSlice":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, amount: int | None = -1) -> bytes:
        """At most ``amount`` bytes; the rest if it is negative or None.

        :raises OSError: the file cannot be read, or is shorter than expected.
        """
        left = self._size - self._at
        wanted = left if amount is None or amount < 0 else min(amount, left)
        try:
            self._check()
            data = os.pread(self._file.fileno(), wanted, self._start + self._at)
            if wanted and not data:
                raise OSError(errno.EIO, "is shorter than it was", self._file.name)
        except Exception as error:
            self.error = error
            raise
        self._at += len(data)
        return data

    def whole(self) -> bytes:
        """All bytes.

        :raises OSError: as for :meth:`read`.
        """
        data = b""
        while block := self.read():
            data += block
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves the position within the slice."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = min(max(0, base + offset), self._size)
        return self._at

    def tell(self) -> int:
        """The position within the slice."""
        return self._at

    def blocks(self) -> Iterator[bytes]:
        """All bytes in blocks, from the start; then the position is at the start again."""
        self.seek(0)
        while block := self.read(BLOCK):
            yield block
        self.seek(0)
