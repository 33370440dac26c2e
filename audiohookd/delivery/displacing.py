"""What gives way when the disk is full: of what was to stay here though it is stored elsewhere, the oldest."""

from pathlib import Path

from audiohookd.spool import layout, shelf
from audiohookd.spool.shelf import Recording


def oldest_stored(done: Path) -> Recording | None:
    """Of the oldest day the one that was stored first; None when none was. For worker threads.

    What has no receipt is nowhere else, and no choice.

    :raises OSError: the disk refused.
    """
    for day in shelf.days(done):
        stored = [one for one in shelf.of_day(day) if one.carriers and layout.SIDECAR in one.suffixes]
        if stored:
            return min(stored, key=_stored_at)
    return None


def _stored_at(recording: Recording) -> float:
    """When it was stored last. What is just being removed by others comes last."""
    try:
        return max(recording.path(layout.stored(name)).lstat().st_mtime for name in recording.carriers)
    except FileNotFoundError:
        return float("inf")
