"""Drafts that were left behind, by a crash or by a disk that refused to finish them, become recordings.

For worker threads, or for a program of its own while no daemon has the spool: all of it blocks.
"""

import os
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from audiohookd.spool import layout
from audiohookd.spool.files import DIRECTORY_MODE, DraftPaths
from audiohookd.spool.layout import Layout
from audiohookd.spool.ready import make_ready, sync_directory

#: The suffixes of a draft's files. Any other file is not ours, and stays where it is.
_SUFFIXES = frozenset({layout.JOURNAL, layout.AUDIO, layout.SIDECAR, f"{layout.SIDECAR}.tmp"})


class Mended(NamedTuple):
    """What became of a draft.

    ``ready``: a recording, at ``path``. ``broken``: nothing can be made of it; it was put aside, and ``reason`` says
    why. ``failed``: the disk refused, ``reason`` says how; it stays, to be tried again.
    """

    id: str
    outcome: Literal["ready", "broken", "failed"]
    path: Path | None = None
    reason: str = ""


def mend(spool: Layout, live: Container[str] = ()) -> Iterator[Mended]:
    """Deals with one draft at each step, until there is none left.

    :param live: the ids of drafts that are in somebody's care; looked at when it is their turn.
    """
    drafts = _drafts(spool.draft)
    for recording_id in sorted(drafts):
        if recording_id not in live:
            mended = _mend(spool, recording_id)
            if mended is not None:
                yield mended


def _drafts(directory: Path) -> set[str]:
    found: set[str] = set()
    foreign: set[str] = set()
    with os.scandir(directory) as entries:
        for entry in entries:
            recording_id, _, suffix = entry.name.partition(".")
            if suffix in _SUFFIXES and layout.RECORDING_ID.fullmatch(recording_id):
                # To open a FIFO would take for ever, and what a link leads to is not ours.
                (found if entry.is_file(follow_symlinks=False) else foreign).add(recording_id)
    return found - foreign


def _mend(spool: Layout, recording_id: str) -> Mended | None:
    draft = DraftPaths(spool.draft, recording_id)
    try:
        if draft.journal.exists() or draft.sidecar.exists():
            return Mended(recording_id, "ready", make_ready(draft, spool.ready))
        if draft.audio.exists() or draft.partial_sidecar.exists():
            return _put_aside(spool, recording_id, "there is no journal")
    except (ValueError, ArithmeticError, RecursionError) as fault:
        return _give_up(spool, recording_id, f"the journal or the sidecar cannot be read: {fault}")
    except OSError as fault:
        return Mended(recording_id, "failed", reason=f"{fault.filename or spool.draft}: {fault.strerror}")
    return None  # finished since it was looked for


def _give_up(spool: Layout, recording_id: str, reason: str) -> Mended:
    try:
        return _put_aside(spool, recording_id, reason)
    except OSError as fault:
        return Mended(recording_id, "failed", reason=f"{reason}; and cannot be put aside: {fault.strerror}")


def _put_aside(spool: Layout, recording_id: str, reason: str) -> Mended:
    """The reason first: files that lie there without one would be a riddle."""
    spool.broken.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    (spool.broken / f"{recording_id}.{layout.REASON}").write_text(f"{reason}\n", encoding="utf-8")
    for suffix in sorted(_SUFFIXES):
        path = spool.draft / f"{recording_id}.{suffix}"
        if path.exists():
            path.rename(spool.broken / path.name)
    sync_directory(spool.broken)
    return Mended(recording_id, "broken", reason=reason)
