"""Keys in a file."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from zope.interface import implementer

from audiohookd.auth.keys.model import IKeySource, Keys, KeySourceError
from audiohookd.auth.keys.parse import BadKeys, read_keys
from audiohookd.runtime.privileges import read_remedy

#: Seconds between two polls of the file.
WATCH_EVERY = 3.0
#: Largest file of keys, in bytes: room for some 10,000 keys.
MAX_SIZE = 1 << 20


@implementer(IKeySource)
class KeyFile:
    """A file with the JSON object of :mod:`audiohookd.auth.keys.parse`. Rejected if other users may access it.

    :param alternative: a further remedy in the error for a file that cannot be read.
    """

    interval = WATCH_EVERY

    def __init__(self, name: str, path: Path, alternative: str = "") -> None:
        self.name = name
        self._alternative = alternative
        self._path = path
        #: Identifies the content of the file when it was last read.
        self._stamp: tuple[int, ...] | None = None

    def changed(self) -> bool:
        """See :class:`IKeySource`. A missing file counts as changed."""
        try:
            return _stamp(self._path.stat()) != self._stamp
        except (OSError, ValueError):
            return True

    def load(self) -> Keys:
        """See :class:`IKeySource`."""
        self._stamp = None
        try:
            return read_keys(self._read())
        except BadKeys as error:
            raise self._error(str(error)) from None

    def _read(self) -> bytes:
        try:
            with open(self._path, "rb", opener=_open) as file:
                return self._read_checked(file)
        except KeySourceError:
            raise
        except OSError as error:
            if isinstance(error, PermissionError):
                credential = ", or let systemd pass it (LoadCredential= and keys_credential, docs/keys.rst)"
                raise self._error(f"{read_remedy(self._path)}{credential}{self._alternative}") from None
            advice = f"correct path or permissions{self._alternative}"
            raise self._error(f"cannot be read ({error.strerror}): {advice}") from None
        except ValueError:  # a null character
            raise self._error("is not a valid file name: correct the path") from None

    def _read_checked(self, file: BinaryIO) -> bytes:
        status = os.fstat(file.fileno())
        if status.st_mode & stat.S_IRWXO:
            mode = stat.S_IMODE(status.st_mode)
            raise self._error(f"is accessible to all users (mode {mode:04o}): chmod o= it, and rotate its secrets")
        content = file.read(MAX_SIZE + 1) or b""
        if len(content) > MAX_SIZE:
            raise self._error(f"is larger than {MAX_SIZE} bytes: correct the path")
        self._stamp = _stamp(status)
        return content

    def _error(self, text: str) -> KeySourceError:
        return KeySourceError(f"{str(self._path)!r}: {text}")


def _open(path: str, flags: int) -> int:
    """Opens without blocking. A pipe would wait for a writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_mode
