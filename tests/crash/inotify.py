"""Reports changes of the names in directories at once, with inotify (Linux)."""

import ctypes
import os
import select
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

#: The events of a name, and of its file.
MODIFIED, MOVED_TO, CREATED, DELETED = 0x2, 0x80, 0x100, 0x200

_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Happened(NamedTuple):
    """An event of a name. ``what`` is one of the constants above."""

    directory: Path
    name: str
    what: int


class Inotify:
    """Watches existing ``directories`` while the context manager is active."""

    def __init__(self, directories: Iterable[Path]) -> None:
        self._wanted = list(directories)
        self._watched: dict[int, Path] = {}

    def __enter__(self) -> "Inotify":
        self._file = _checked(_libc.inotify_init1(os.O_CLOEXEC))
        mask = MODIFIED | MOVED_TO | CREATED | DELETED
        for directory in self._wanted:
            watch = _checked(_libc.inotify_add_watch(self._file, os.fsencode(directory), mask))
            self._watched[watch] = directory
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def wait(self, seconds: float) -> Iterator[Happened]:
        """The events since the last call; empty if there is none for ``seconds``."""
        poll = select.poll()  # select() fails above descriptor 1,023, which the test process exceeds
        poll.register(self._file, select.POLLIN)
        if not poll.poll(1000 * seconds):
            return
        data = os.read(self._file, 65536)
        at = 0
        while at < len(data):
            watch, mask, _, size = _EVENT.unpack_from(data, at)
            at += _EVENT.size + size
            name = data[at - size : at].rstrip(b"\0").decode()
            if watch in self._watched:
                yield Happened(self._watched[watch], name, mask & 0xFFF)


def _checked(result: int) -> int:
    if result == -1:
        raise OSError(ctypes.get_errno(), "inotify")
    return result
