"""Opening files of ours, and nothing that somebody put in their place. For worker threads: all of it blocks.

Whoever may write into the spool could make a link of the name that comes next, and have the daemon write where he may
not; or a FIFO, which to open takes for ever.
"""

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from audiohookd.spool.paths import FILE_MODE


def open_regular(path: Path, flags: int) -> int:
    """Opens the regular file at ``path``.

    :raises OSError: as :func:`os.open`; there is a link, or something else.
    """
    file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, FILE_MODE)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    return file


def is_regular(path: Path) -> bool:
    """Whether there is a regular file; no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def write_new(path: Path, content: Iterable[bytes]) -> None:
    """Writes a file, in place of whatever had its name. It is on the disk when this returns, its name perhaps not."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE), "wb") as file:
        file.writelines(content)
        file.flush()
        os.fsync(file.fileno())
