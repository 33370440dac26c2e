"""The file ``wake``, which operators touch to start a retry of everything."""

from pathlib import Path


class WakeFile:
    """Detects that the file was touched. For worker threads, one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._touched_at: int | None = None

    def was_touched(self) -> bool:
        """Whether the file was touched since the last call; False when it cannot be read."""
        try:
            touched_at = self._path.stat().st_mtime_ns
        except OSError:
            return False
        before, self._touched_at = self._touched_at, touched_at
        return touched_at != before
