"""The file that is touched to make the daemon look at everything again."""

from pathlib import Path


class WakeFile:
    """For worker threads, one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._touched_at: int | None = None

    def was_touched(self) -> bool:
        """Since the last time this was asked. A file that cannot be looked at was not."""
        try:
            touched_at = self._path.stat().st_mtime_ns
        except OSError:
            return False
        before, self._touched_at = self._touched_at, touched_at
        return touched_at != before
