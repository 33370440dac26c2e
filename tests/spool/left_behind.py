"""Drafts as they lie there after a crash."""

import json
from collections.abc import Callable
from pathlib import Path

from riff_layout import junk_first_header
from spool_rig import STARTED_AT, STEREO

from audiohookd.protocol.media import Media
from audiohookd.spool import wav
from audiohookd.spool.files import DraftPaths
from audiohookd.spool.journal import facts_of, first_line
from audiohookd.spool.layout import Layout

DAY = "2025-12-31"
ID = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"
NOTE = b'{"timestamp":"PT1S","type":"logger","data":{"msg":"noted"}}\n'


def empty_spool(directory: Path) -> Layout:
    made = Layout(directory)
    made.draft.mkdir()
    made.ready.mkdir()
    return made


def leave_behind(
    spool: Layout,
    audio: bytes = b"",
    journal: bytes = NOTE,
    media: Media | None = STEREO,
    name: str = ID,
    header: Callable[[Media], bytes] = wav.growing_header,
) -> DraftPaths:
    """A draft, as it lies there after a crash."""
    paths = DraftPaths(spool.draft, name)
    paths.journal.write_bytes(first_line(facts_of(name, STARTED_AT, media)) + journal)
    if media is not None:
        paths.audio.write_bytes(header(media) + audio)
    return paths


def of_earlier_version(media: Media) -> bytes:
    """The growing header that a draft of an earlier version begins with."""
    return junk_first_header(media, None)


def sidecar(spool: Layout, name: str = ID) -> dict:
    return json.loads((spool.ready / DAY / f"{name}.json").read_bytes())


def names(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
