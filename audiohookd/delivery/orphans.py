"""Audio in ``ready`` whose sidecar is nowhere: nobody can tell whose it is, so nobody delivers it, or removes it."""

from pathlib import Path
from typing import NamedTuple

from audiohookd.spool import catalog, paths
from audiohookd.spool.catalog import Recording
from audiohookd.spool.paths import SpoolPaths


class Orphans(NamedTuple):
    """How many there are, and one of them."""

    files: int = 0
    example: Path | None = None


def find_orphans(spool: SpoolPaths) -> Orphans:
    """Looks for them. For worker threads; takes no notice of what comes and goes meanwhile.

    :raises OSError: the disk refused.
    """
    found = Orphans()
    for recording in catalog.iter_recordings(spool.ready):
        if _is_audio_alone(recording) and not _is_on_its_way(spool, recording):
            found = Orphans(found.files + 1, found.example or recording.audio)
    return found


def _is_audio_alone(recording: Recording) -> bool:
    return paths.AUDIO in recording.suffixes and paths.SIDECAR not in recording.suffixes


def _is_on_its_way(spool: SpoolPaths, recording: Recording) -> bool:
    """Into ``ready`` audio comes first, from there it goes last: the sidecar is where it comes from, or goes to.

    The places are asked in the order in which a sidecar passes them.
    """
    places = (spool.draft, *(place / recording.day for place in (spool.ready, spool.done, spool.dead)))
    return any((place / recording.sidecar.name).exists() for place in places) or not recording.audio.exists()
