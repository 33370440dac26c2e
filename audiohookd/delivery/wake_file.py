"""The file ``wake``, which operators touch to start a retry of everything."""

from pathlib import Path

from audiohookd.runtime.file_watcher import FileStamp, stamp_of


class WakeFile:
    """Detects that the file was touched. For worker threads, one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: FileStamp | None = None

    def was_touched(self) -> bool:
        """Whether the file was touched since the last call; False when it cannot be read."""
        stamp = stamp_of(self._path)
        if stamp is None:
            return False
        before, self._stamp = self._stamp, stamp
        return stamp != before
