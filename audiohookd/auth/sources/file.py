"""Keys in a file."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from zope.interface import implementer

from audiohookd.auth.key_json import BadKeys, read_keys
from audiohookd.auth.keys import IKeySource, Keys, KeySourceError
from audiohookd.runtime.privileges import read_remedy

#: Seconds from one look at the file to the next.
WATCH_EVERY = 3.0
#: Bytes that a file of keys may have: room for some 10,000 of them.
MAX_SIZE = 1 << 20


@implementer(IKeySource)
class KeyFile:
    """A file with the JSON object of :mod:`audiohookd.auth.key_json`, which is not for everybody to read.

    :param alternative: what else may help when it cannot be read, for the user.
    """

    interval = WATCH_EVERY

    def __init__(self, name: str, path: Path, alternative: str = "") -> None:
        self.name = name
        self._alternative = alternative
        self._path = path
        #: What told the file apart when it was last read.
        self._stamp: tuple[int, ...] | None = None

    def changed(self) -> bool:
        """See :class:`IKeySource`. A file that is gone has changed."""
        try:
            return _stamp(self._path.stat()) != self._stamp
        except (OSError, ValueError):
            return True

    def load(self) -> Keys:
        """See :class:`IKeySource`."""
        self._stamp = None
        try:
            return read_keys(self._read())
        except BadKeys as fault:
            raise self._error(str(fault)) from None

    def _read(self) -> bytes:
        try:
            with open(self._path, "rb", opener=_open) as file:
                return self._admitted(file)
        except KeySourceError:
            raise
        except OSError as error:
            if isinstance(error, PermissionError):
                credential = ", or let systemd pass it (LoadCredential= and keys_credential, docs/keys.rst)"
                raise self._error(f"{read_remedy(self._path)}{credential}{self._alternative}") from None
            advice = f"correct path or permissions{self._alternative}"
            raise self._error(f"cannot be read ({error.strerror}): {advice}") from None
        except ValueError:  # a null character
            raise self._error("cannot be the name of a file: correct the path") from None

    def _admitted(self, file: BinaryIO) -> bytes:
        about = os.fstat(file.fileno())
        if about.st_mode & stat.S_IRWXO:
            mode = stat.S_IMODE(about.st_mode)
            raise self._error(f"is open to everybody (mode {mode:04o}): chmod o= it, and think of new secrets")
        content = file.read(MAX_SIZE + 1) or b""
        if len(content) > MAX_SIZE:
            raise self._error(f"has more than {MAX_SIZE} bytes: correct the path")
        self._stamp = _stamp(about)
        return content

    def _error(self, what: str) -> KeySourceError:
        return KeySourceError(f"{str(self._path)!r}: {what}")


def _open(path: str, flags: int) -> int:
    """Not to wait for somebody at the other end, should it be a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _stamp(about: os.stat_result) -> tuple[int, ...]:
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_mode
