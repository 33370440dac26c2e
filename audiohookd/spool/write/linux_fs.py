"""Syncs a whole file system, which ``os`` cannot do. May block."""

import ctypes
import os
import re

_C = ctypes.CDLL(None, use_errno=True)
#: ``f_type`` of ext4, xfs and f2fs in statfs(2): there syncfs gives the same guarantee, and reports the same errors,
#: as fsync of each file. Network and overlay file systems may not.
_SYNCFS_TYPES = frozenset({0xEF53, 0x58465342, 0xF2F52010})
#: Since Linux 5.8, syncfs(2) reports write errors.
_REPORTS_ERRORS = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2])) >= (5, 8)


def sync_file_system(file: int) -> None:
    """Syncs the whole file system of the open ``file`` to disk, including the data of other programs.

    :raises OSError: a write to the file system failed, now or since ``file`` was opened, possibly of another file.
    """
    if _C.syncfs(file):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def is_syncfs_reliable(file: int) -> bool:
    """Whether :func:`sync_file_system` of the open ``file`` is as good as ``fsync`` of each file."""
    statfs = (ctypes.c_long * 32)()  # more than struct statfs; its first member is f_type
    return _REPORTS_ERRORS and not _C.fstatfs(file, statfs) and statfs[0] in _SYNCFS_TYPES
