"""Creates drafts as a crash leaves them behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from audiohookd.protocol.media import Media
from audiohookd.spool.format import wav
from audiohookd.spool.format.journal import first_line, journal_header
from audiohookd.spool.paths import SpoolPaths
from audiohookd.spool.write.draft_files import DraftPaths
from tests.spool.riff_layout import junk_first_header
from tests.spool.spool_rig import STARTED_AT, STEREO

DAY = "2025-12-31"
ID = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"
NOTE = b'{"timestamp":"PT1S","type":"logger","data":{"msg":"noted"}}\n'


def empty_spool(directory: Path) -> SpoolPaths:
    made = SpoolPaths(directory)
    made.draft.mkdir()
    made.ready.mkdir()
    return made


def leave_behind(
    spool: SpoolPaths,
    audio: bytes = b"",
    journal: bytes = NOTE,
    media: Media | None = STEREO,
    name: str = ID,
    header: Callable[[Media], bytes] = wav.growing_header,
) -> DraftPaths:
    """Creates a draft as a crash leaves it behind."""
    paths = DraftPaths(spool.draft, name)
    paths.journal.write_bytes(first_line(journal_header(name, STARTED_AT, media)) + journal)
    if media is not None:
        paths.audio.write_bytes(header(media) + audio)
    return paths


def of_earlier_version(media: Media) -> bytes:
    """The growing header of a draft of an earlier version."""
    return junk_first_header(media, None)


def sidecar(spool: SpoolPaths, name: str = ID) -> dict[str, Any]:
    return json.loads((spool.ready / DAY / f"{name}.json").read_bytes())


def names(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
