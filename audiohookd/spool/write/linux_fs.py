"""What Linux does for file systems and is not in ``os``. All of it blocks, or may."""

import ctypes
import os
import re
from pathlib import Path

_C = ctypes.CDLL(None, use_errno=True)
_C.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_WRITE = 2

#: Before, syncfs(2) kept to itself that something could not be written.
_SYNCFS_REPORTS_SINCE = (5, 8)
_MEMORY = Path("/proc/meminfo")
_MOUNTS = Path("/proc/self/mountinfo")


def sync_file_system(file: int) -> None:
    """All that anybody has written to the file system of the open ``file`` is on the disk.

    :raises OSError: it is not, or something was not since ``file`` was opened, whosever it was.
    """
    if _C.syncfs(file):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def start_writeback(file: int) -> None:
    """The system begins to write what is new in ``file``. Nothing depends on it, so that it may fail is no matter.

    What is in ``os`` in its place, posix_fadvise, throws the file out of the cache, from which its checksum is to be
    computed.
    """
    _C.sync_file_range(file, 0, 0, _WRITE)


def syncfs_reports_errors(release: str) -> bool:
    """Whether :func:`sync_file_system` does, on Linux of this ``release`` (``6.1.0-18-amd64``)."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= _SYNCFS_REPORTS_SINCE


def file_system_type(device: int, mounts: Path = _MOUNTS) -> str | None:
    """What is mounted from ``device`` (``ext4``); None when that cannot be told, as with parts of a btrfs.

    :raises OSError: it is hidden.
    """
    number = b"%d:%d" % (os.major(device), os.minor(device))
    for line in mounts.read_bytes().splitlines():  # bytes: the names of others' mounts may be no text
        mount, _, source = line.partition(b" - ")
        if mount.split()[2] == number:
            return source.split()[0].decode("ascii")
    return None


def dirty_bytes(memory: Path = _MEMORY) -> int:
    """Bytes that wait in memory for any disk of this machine.

    :raises OSError: it is hidden.
    """
    found = re.findall(r"^(?:Dirty|Writeback):\s+(\d+) kB$", memory.read_text(), re.MULTILINE)
    return sum(map(int, found)) * 1024
