"""Keys in a file."""

from pathlib import Path

from zope.interface import implementer

from audiohookd.auth.keys.model import IKeySource, Keys, KeySourceError
from audiohookd.auth.keys.parse import BadKeys, read_keys
from audiohookd.runtime.file_watcher import FileStamp, stamp_of
from audiohookd.secret_file import SecretFileError, read_secret_file

#: Seconds between two polls of the file.
WATCH_EVERY = 3.0


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
        #: The state of the file when it was last read; None if it could not be read or used.
        self._stamp: FileStamp | None = None

    def changed(self) -> bool:
        """See :class:`IKeySource`. A missing file counts as changed."""
        stamp = stamp_of(self._path)
        return stamp is None or stamp != self._stamp

    def load(self) -> Keys:
        """See :class:`IKeySource`."""
        self._stamp = stamp_of(self._path)  # first, so that a change during the read causes a reload
        try:
            return read_keys(read_secret_file(self._path))
        except SecretFileError as error:
            self._stamp = None
            raise KeySourceError(f"{error}{self._remedies(error.os_error)}") from None
        except BadKeys as error:
            raise KeySourceError(f"{str(self._path)!r}: {error}") from None

    def _remedies(self, error: OSError | None) -> str:
        """Returns further remedies for a file that cannot be read."""
        credential = ", or let systemd pass it (LoadCredential= and keys_credential, docs/keys.rst)"
        is_denied = isinstance(error, PermissionError)
        return "" if error is None else f"{credential if is_denied else ''}{self._alternative}"
