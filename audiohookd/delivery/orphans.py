"""Orphaned audio in ``ready``: files without a sidecar, which are neither delivered nor removed."""

from pathlib import Path
from typing import NamedTuple

from audiohookd.spool import catalog, paths
from audiohookd.spool.catalog import Recording
from audiohookd.spool.paths import SpoolPaths


class Orphans(NamedTuple):
    """The number of orphaned audio files, and one of them."""

    files: int = 0
    example: Path | None = None


def find_orphans(spool: SpoolPaths) -> Orphans:
    """Searches ``ready`` for orphaned audio. For worker threads; other threads may move recordings at the same time.

    :raises OSError: the disk failed.
    """
    found = Orphans()
    for recording in catalog.iter_recordings(spool.ready):
        if _lacks_sidecar(recording) and not _is_moving(spool, recording):
            found = Orphans(found.files + 1, found.example or recording.audio)
    return found


def _lacks_sidecar(recording: Recording) -> bool:
    return paths.AUDIO in recording.suffixes and paths.SIDECAR not in recording.suffixes


def _is_moving(spool: SpoolPaths, recording: Recording) -> bool:
    """Whether the sidecar is in another directory: audio enters ``ready`` before its sidecar, and leaves it after.

    The directories are checked in the order in which a sidecar passes through them.
    """
    directories = (spool.draft, *(shelf / recording.day for shelf in (spool.ready, spool.done, spool.dead)))
    is_elsewhere = any((directory / recording.sidecar.name).exists() for directory in directories)
    return is_elsewhere or not recording.audio.exists()
