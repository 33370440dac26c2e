"""Drafts that were left behind, by a crash or by a disk that refused to finish them, become recordings.

For worker threads, or for a program of its own while no daemon has the spool: all of it blocks.
"""

import os
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from audiohookd.spool import layout, wav
from audiohookd.spool.files import DIRECTORY_MODE, DraftPaths
from audiohookd.spool.layout import Layout
from audiohookd.spool.own import is_own, open_own, write_anew
from audiohookd.spool.ready import make_ready, sync_directory

#: The suffixes of a draft's files. Any other file is not ours, and stays where it is.
_SUFFIXES = frozenset({layout.JOURNAL, layout.AUDIO, layout.SIDECAR, f"{layout.SIDECAR}.tmp"})


class Mended(NamedTuple):
    """What became of a draft.

    ``ready``: a recording, at ``path``. ``broken``: nothing can be made of it; it was put aside, and ``reason`` says
    why. ``empty``: nothing had been written when it was left behind; it is gone. ``failed``: the disk refused,
    ``reason`` says how; it stays, to be tried again.
    """

    id: str
    outcome: Literal["ready", "broken", "empty", "failed"]
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
        files = _files(spool, recording_id)
        if not files:
            return None  # finished since it was looked for
        if _is_empty(draft):
            return _remove(recording_id, files)
        if draft.journal in files or draft.sidecar in files:
            return Mended(recording_id, "ready", make_ready(draft, spool.ready, is_left_behind=True))
        return _put_aside(spool, recording_id, "there is no journal")
    except (ValueError, ArithmeticError, RecursionError) as fault:
        return _give_up(spool, recording_id, f"the journal or the sidecar cannot be read: {fault}")
    except OSError as fault:
        return Mended(recording_id, "failed", reason=f"{fault.filename or spool.draft}: {fault.strerror}")


def _files(spool: Layout, recording_id: str) -> list[Path]:
    paths = (spool.draft / f"{recording_id}.{suffix}" for suffix in sorted(_SUFFIXES))
    return [path for path in paths if is_own(path)]


def _is_empty(draft: DraftPaths) -> bool:
    """No byte of a call is in it: a crash came just after it was made, or power went before any was on the disk."""
    if is_own(draft.sidecar) or _start(draft.journal) or _start(draft.partial_sidecar):
        return False
    return wav.is_bare(_start(draft.audio))


def _start(path: Path) -> bytes:
    """As much of a file as tells whether there is audio in it; nothing where none is."""
    try:
        with open(open_own(path, os.O_RDONLY), "rb") as file:
            return file.read(wav.ENOUGH)
    except FileNotFoundError:
        return b""


def _remove(recording_id: str, files: list[Path]) -> Mended:
    for path in files:
        path.unlink()
    return Mended(recording_id, "empty")


def _give_up(spool: Layout, recording_id: str, reason: str) -> Mended:
    try:
        return _put_aside(spool, recording_id, reason)
    except OSError as fault:
        return Mended(recording_id, "failed", reason=f"{reason}; and cannot be put aside: {fault.strerror}")


def _put_aside(spool: Layout, recording_id: str, reason: str) -> Mended:
    """The reason first, on the disk: files that lie there without one would be a riddle."""
    spool.broken.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    write_anew(spool.broken / f"{recording_id}.{layout.REASON}", [f"{reason}\n".encode("utf-8", "backslashreplace")])
    sync_directory(spool.directory)
    sync_directory(spool.broken)
    for path in _files(spool, recording_id):
        path.rename(spool.broken / path.name)
    sync_directory(spool.broken)
    return Mended(recording_id, "broken", reason=reason)
