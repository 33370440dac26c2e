"""Summarizes a recording in a spool from its files. A draft may grow while its journal is read."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from audiohookd.cli.spool.lookup import Found, State
from audiohookd.delivery import rejection
from audiohookd.protocol.duration import NANOSECONDS, parse_duration, samples_to_duration
from audiohookd.protocol.media import Media
from audiohookd.spool import paths
from audiohookd.spool.catalog import Recording
from audiohookd.spool.format import wav
from audiohookd.spool.format.journal import ABOUT, JournalHeader, entries, members, read_header, read_lines
from audiohookd.spool.format.sidecar import start_time
from audiohookd.spool.format.sidecar_reader import MAX_GAPS

#: Bytes that are shown of a reason.
_REASON = 65_536


class About(msgspec.Struct, frozen=True):
    """The summary of a recording. ``duration`` in seconds, ``bytes`` of all its files. None: unknown."""

    id: str
    state: str
    started: str | None
    duration: float | None
    bytes: int
    stored: list[str] = []
    told: list[str] = []
    due: list[str] = []
    recovered: bool = False
    reason: str | None = None

    @property
    def day(self) -> str:
        """The day on which it started, as ``2026-01-31``; empty if unknown."""
        return (self.started or "")[:10]


def about(found: Found, due: list[str]) -> About | None:
    """Summarizes a recording. None if it was moved or deleted before its files were read.

    :param due: the destinations that it still waits for.
    :raises OSError: the disk reported an error.
    """
    files = found.files
    reason = reason_of(found)
    recording: Mapping[str, Any] = {}
    try:
        recording = recording_of(found)
    except FileNotFoundError:
        return None
    except ValueError as error:
        reason = reason or f"cannot be read: {error}"
    return About(
        files.id,
        found.state,
        recording.get("startedAt"),
        seconds(recording),
        sum(sizes(found).values()),
        sorted(files.carriers),
        sorted(files.notifiers),
        due if found.state is State.READY else [],
        "recovered" in recording,
        reason,
    )


def sizes(found: Found) -> dict[Path, int]:
    """The size of each file of the recording, in bytes."""
    held = {}
    for suffix in sorted(found.files.suffixes):
        path = found.files.path(suffix)
        try:
            held[path] = path.stat().st_size
        except FileNotFoundError:
            continue
    return held


def recording_of(found: Found) -> Mapping[str, Any]:
    """The member ``recording`` of the sidecar; for a draft its outline; empty if there is only audio.

    :raises OSError: the disk reported an error, or the file was moved or deleted.
    :raises ValueError: the file is not a sidecar or journal.
    """
    if paths.JOURNAL in found.files.suffixes:
        return draft_outline(found.files)
    if paths.SIDECAR in found.files.suffixes:
        return found.files.read()
    return {}


def reason_of(found: Found) -> str | None:
    """Why the recording is dead or broken, or which destinations rejected it. None if no file says so."""
    try:
        if paths.REASON not in found.files.suffixes:
            return "; ".join(rejection.lines(found.files)) or None
        with found.files.path(paths.REASON).open("rb") as file:
            return "; ".join(file.read(_REASON).decode("utf-8", "replace").strip().splitlines())
    except FileNotFoundError:
        return None


def seconds(recording: Mapping[str, Any]) -> float | None:
    """The duration of the audio in seconds. None if unknown."""
    duration = recording.get("duration")
    try:
        return None if duration is None else parse_duration(duration) / NANOSECONDS
    except (TypeError, ValueError):
        return None


def draft_outline(files: Recording) -> dict[str, Any]:
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


def draft_detail(files: Recording) -> dict[str, Any]:
    """The outline, the identity of the call, and the first gaps. Raises the same errors as :func:`draft_outline`."""
    known: dict[str, Any] = {}
    gaps: list[Any] = []
    for entry in entries(_lines(files, 1)):
        if entry.type in ABOUT:
            known |= members(entry)
        elif entry.type == "gap" and len(gaps) < MAX_GAPS:
            gaps.append(msgspec.json.decode(entry.data))
    return known | draft_outline(files) | {"gaps": gaps}


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
