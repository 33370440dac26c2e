"""One daemon to a spool."""

import errno
import fcntl
import os
from pathlib import Path

from audiohookd.spool.files import FILE_MODE


def lock(path: Path) -> int:
    """Takes the lock at ``path`` without waiting; returns the open file that holds it.

    Closing that releases it, and so does the end of the process, whatever it is. A process that daemonizes keeps it.

    :raises OSError: somebody else has it.
    """
    file = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        os.close(file)
        if fault.errno == errno.EWOULDBLOCK:
            raise OSError(fault.errno, "in use by another daemon", str(path)) from None
        raise OSError(fault.errno, fault.strerror, str(path)) from fault
    return file
