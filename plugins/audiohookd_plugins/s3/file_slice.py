"""A file, or a part of it, as the body of a request. What is read passes by."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

#: Bytes that are read at a time for a checksum.
BLOCK = 1 << 20


class FileSlice:
    """``size`` bytes of the file ``path`` from ``start``, as a file to read: for botocore, which may begin again.

    As a context manager it closes the file. What goes wrong here botocore would report as a failure of the
    connection, so it is kept in ``fault``, too.

    :param check: called before each read; what it raises ends the request.
    """

    def __init__(self, path: Path, start: int, size: int, check: Callable[[], None]) -> None:
        self._file = path.open("rb", buffering=0)
        self._start, self._size, self._at = start, size, 0
        self._check = check
        self.fault: Exception | None = None

    def __enter__(self) -> "FileSlice":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, amount: int | None = -1) -> bytes:
        """At most ``amount`` bytes; all that is left when it is negative or None.

        :raises OSError: the file cannot be read, or is shorter than it should be.
        """
        left = self._size - self._at
        wanted = left if amount is None or amount < 0 else min(amount, left)
        try:
            self._check()
            data = os.pread(self._file.fileno(), wanted, self._start + self._at)
            if wanted and not data:
                raise OSError(errno.EIO, "is shorter than it was", self._file.name)
        except Exception as fault:
            self.fault = fault
            raise
        self._at += len(data)
        return data

    def whole(self) -> bytes:
        """All of it at once.

        :raises OSError: as for :meth:`read`.
        """
        data = b""
        while block := self.read():
            data += block
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Within the window."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = min(max(0, base + offset), self._size)
        return self._at

    def tell(self) -> int:
        """Within the window."""
        return self._at

    def blocks(self) -> Iterator[bytes]:
        """All of it in pieces, from the start; then it is at the start again."""
        self.seek(0)
        while block := self.read(BLOCK):
            yield block
        self.seek(0)
