"""Opens files of the spool without following links or waiting for a FIFO. All of it blocks: for worker threads.

A local user with write access to the spool could create a link with the name of the next file, and make the daemon
write where that user may not. Or a FIFO: opening it blocks for ever.
"""

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from audiohookd.spool.paths import FILE_MODE


def open_regular(path: Path, flags: int) -> int:
    """Opens the regular file at ``path``.

    :raises OSError: as :func:`os.open`, or there is a link or another kind of file.
    """
    file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, FILE_MODE)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return file


def is_regular(path: Path) -> bool:
    """Whether ``path`` is a regular file, and not a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def write_new(path: Path, content: Iterable[bytes]) -> None:
    """Writes a new file, and removes an old one at ``path`` first. Syncs the content, but not the directory."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE), "wb") as file:
        file.writelines(content)
        file.flush()
        os.fsync(file.fileno())
