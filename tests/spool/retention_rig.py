"""A spool with recordings of known size and age."""

import os
from collections.abc import Iterable
from pathlib import Path

from audiohookd.spool.paths import SpoolPaths, notified_suffix, stored_suffix

NOW = 1_767_484_800.0  # 2026-01-04T00:00:00Z
HOUR = 3_600.0
#: The last four days, oldest first, and the current day.
DAYS = ("2025-12-31", "2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04")
S3 = stored_suffix("s3")
S3_TOO = stored_suffix("elsewhere")
WEBHOOK = notified_suffix("webhook")
WHOLE = ("wav", "json", WEBHOOK, S3)


def recording_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


class FullSpool:
    """A spool in which each file of a recording has ``size`` bytes and was written ``age`` seconds ago."""

    def __init__(self, directory: Path) -> None:
        self.layout = SpoolPaths(directory)
        for place in (self.layout.draft, self.layout.ready, self.layout.done, self.layout.dead, self.layout.broken):
            place.mkdir(parents=True)

    def put(
        self, day: Path, number: int, suffixes: Iterable[str] = WHOLE, size: int = 100, age: float = HOUR
    ) -> None:
        day.mkdir(exist_ok=True)
        for suffix in suffixes:
            file = day / f"{recording_id(number)}.{suffix}"
            file.write_bytes(b"\xff" * size)
            os.utime(file, (NOW - age, NOW - age))

    def leave_alone(self, day: Path, seconds: float) -> None:
        """Sets the time of the last change of the directory to ``seconds`` ago."""
        os.utime(day, (NOW - seconds, NOW - seconds))

    def files(self) -> dict[str, int]:
        """All files with their sizes."""
        top = self.layout.directory
        return {str(path.relative_to(top)): path.stat().st_size for path in top.rglob("*") if path.is_file()}

    def numbers(self, place: Path) -> list[int]:
        """The numbers of the recordings with at least one file, by day."""
        return sorted({int(path.name[24:36]) for path in place.rglob("*") if path.is_file()})
