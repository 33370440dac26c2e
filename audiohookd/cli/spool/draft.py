"""Reads the journal of a draft: a recording in progress, or one that a crash left. It may grow while it is read."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from audiohookd.protocol.duration import samples_to_duration
from audiohookd.protocol.media import Media
from audiohookd.spool import paths
from audiohookd.spool.catalog import Recording
from audiohookd.spool.format import wav
from audiohookd.spool.format.journal import ABOUT, JournalHeader, entries, members, read_header, read_lines
from audiohookd.spool.format.sidecar import start_time
from audiohookd.spool.format.sidecar_reader import MAX_GAPS


def outline(files: Recording) -> dict[str, Any]:
    """The start, media and duration of a draft, with the names and units of a sidecar.

    :raises OSError: the disk reported an error, or the draft was finished or removed.
    :raises ValueError: the journal has no valid first line.
    """
    facts = _facts(files)
    media = facts.wire_media()
    samples = 0 if media is None else _samples(files, media)
    duration = samples_to_duration(samples, media.rate) if media else "PT0S"
    return {
        "startedAt": start_time(facts),
        "media": msgspec.to_builtins(facts.media),
        "samples": samples,
        "duration": duration,
    }


def detail(files: Recording) -> dict[str, Any]:
    """The outline, the identity of the call, and the first gaps. Raises the same errors as :func:`outline`."""
    known: dict[str, Any] = {}
    gaps: list[Any] = []
    for entry in entries(_lines(files, 1)):
        if entry.type in ABOUT:
            known |= members(entry)
        elif entry.type == "gap" and len(gaps) < MAX_GAPS:
            gaps.append(msgspec.json.decode(entry.data))
    return known | outline(files) | {"gaps": gaps}


def _facts(files: Recording) -> JournalHeader:
    for line in islice(_lines(files, 0), 1):
        return read_header(line)
    raise ValueError("the journal has no first line")


def _lines(files: Recording, first: int) -> Iterator[bytes]:
    return islice(read_lines(files.path(paths.JOURNAL)), first, None)


def _samples(files: Recording, media: Media) -> int:
    try:
        size = files.audio.stat().st_size
    except FileNotFoundError:
        return 0
    return max(0, size - wav.header_bytes(media)) // media.frame_bytes
