"""Linux file system calls that ``os`` lacks. All of them may block."""

import ctypes
import os
import re
from pathlib import Path

_C = ctypes.CDLL(None, use_errno=True)
_C.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_WRITE = 2

#: Before this version of Linux, syncfs(2) did not report write errors.
_SYNCFS_REPORTS_SINCE = (5, 8)
_MEMORY = Path("/proc/meminfo")
_MOUNTS = Path("/proc/self/mountinfo")


def sync_file_system(file: int) -> None:
    """Syncs the whole file system of the open ``file`` to disk, including the data of other programs.

    :raises OSError: a write to the file system failed, now or since ``file`` was opened, possibly of another file.
    """
    if _C.syncfs(file):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def start_writeback(file: int) -> None:
    """Makes the system begin to write the dirty pages of ``file``. Ignores errors, because it is only a hint.

    posix_fadvise, which ``os`` has, would drop the file from the page cache, and finalizing reads it for its SHA-256.
    """
    _C.sync_file_range(file, 0, 0, _WRITE)


def syncfs_reports_errors(release: str) -> bool:
    """Whether :func:`sync_file_system` reports errors on a Linux ``release`` (such as ``6.1.0-18-amd64``)."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= _SYNCFS_REPORTS_SINCE


def file_system_type(device: int, mounts: Path = _MOUNTS) -> str | None:
    """The type of the file system on ``device`` (such as ``ext4``), or None if unknown, as for a btrfs subvolume.

    :raises OSError: the list of mounts cannot be read.
    """
    number = b"%d:%d" % (os.major(device), os.minor(device))
    for line in mounts.read_bytes().splitlines():  # bytes: names of other mounts may not be valid text
        mount, _, source = line.partition(b" - ")
        if mount.split()[2] == number:
            return source.split()[0].decode("ascii")
    return None


def dirty_bytes(memory: Path = _MEMORY) -> int:
    """Bytes in memory that are not yet on disk, for all disks of the machine.

    :raises OSError: the figures cannot be read.
    """
    found = re.findall(r"^(?:Dirty|Writeback):\s+(\d+) kB$", memory.read_text(), re.MULTILINE)
    return sum(map(int, found)) * 1024
