"""What can be told of a recording in a spool, by a look at its files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from audiohookd.cli.spool import draft
from audiohookd.cli.spool.lookup import Found, State
from audiohookd.delivery import rejection
from audiohookd.protocol.duration import NANOSECONDS, parse_duration
from audiohookd.spool import paths

#: Bytes of a reason that are shown.
_REASON = 65_536


class About(msgspec.Struct, frozen=True):
    """``duration`` in seconds, ``bytes`` of all its files. None is what cannot be told."""

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
        """On which it started; of one that nothing is known of, an impossible one."""
        return (self.started or "")[:10]


def about(found: Found, due: list[str]) -> About | None:
    """A look at it; None when it went elsewhere meanwhile.

    :param due: who has still to have it.
    :raises OSError: the disk refused.
    """
    files = found.files
    reason = reason_of(found)
    recording: Mapping[str, Any] = {}
    try:
        recording = recording_of(found)
    except FileNotFoundError:
        return None
    except ValueError as fault:
        reason = reason or f"cannot be read: {fault}"
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
    """Its files, in bytes."""
    held = {}
    for suffix in sorted(found.files.suffixes):
        path = found.files.path(suffix)
        try:
            held[path] = path.stat().st_size
        except FileNotFoundError:
            continue
    return held


def recording_of(found: Found) -> Mapping[str, Any]:
    """The ``recording`` of its sidecar; of a draft what is known up to now; of audio alone nothing.

    :raises OSError: the disk refused, or the file is gone.
    :raises ValueError: it is something else.
    """
    if paths.JOURNAL in found.files.suffixes:
        return draft.outline(found.files)
    if paths.SIDECAR in found.files.suffixes:
        return found.files.read()
    return {}


def reason_of(found: Found) -> str | None:
    """Why it is dead, or broken, or who refused what others still wait for; None when nobody wrote that."""
    try:
        if paths.REASON not in found.files.suffixes:
            return "; ".join(rejection.lines(found.files)) or None
        with found.files.path(paths.REASON).open("rb") as file:
            return "; ".join(file.read(_REASON).decode("utf-8", "replace").strip().splitlines())
    except FileNotFoundError:
        return None


def seconds(recording: Mapping[str, Any]) -> float | None:
    """How long the audio is."""
    duration = recording.get("duration")
    try:
        return None if duration is None else parse_duration(duration) / NANOSECONDS
    except (TypeError, ValueError):
        return None
