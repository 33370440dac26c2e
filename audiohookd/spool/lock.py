"""One daemon to a spool."""

import errno
import fcntl
import os
import struct
from pathlib import Path

from audiohookd.spool.files import FILE_MODE

#: `struct flock` of the system: type, whence, start, length (0: to the end), process. Locks of this kind belong to
#: the open file, like those of flock(2), and unlike those they can be asked for without being taken.
_FLOCK = struct.Struct("@hhqqi4x")
_WHOLE = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def lock(path: Path) -> int:
    """Takes the lock at ``path`` without waiting; returns the open file that holds it.

    Closing that releases it, and so does the end of the process, whatever it is. A process that daemonizes keeps it.

    :raises OSError: somebody else has it.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, _WHOLE)
    except OSError as fault:
        os.close(file)
        if fault.errno in (errno.EAGAIN, errno.EACCES):
            raise OSError(errno.EWOULDBLOCK, "in use by another daemon", str(path)) from None
        raise OSError(fault.errno, fault.strerror, str(path)) from fault
    return file


def is_locked(path: Path) -> bool:
    """Whether somebody has the lock at ``path``. Nobody is kept from taking it meanwhile.

    :raises OSError: it cannot be told.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        kind: int = _FLOCK.unpack(fcntl.fcntl(file, fcntl.F_OFD_GETLK, _WHOLE))[0]
    finally:
        os.close(file)
    return kind != fcntl.F_UNLCK
