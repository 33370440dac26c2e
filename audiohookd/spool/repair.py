"""Drafts that were left behind, by a crash or by a disk that refused to finish them, become recordings.

For worker threads, or for a program of its own while no daemon has the spool: all of it blocks.
"""

import os
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from audiohookd.spool import paths
from audiohookd.spool.finalize import finalize_draft, sync_directory
from audiohookd.spool.format import wav
from audiohookd.spool.paths import DIRECTORY_MODE, SpoolPaths
from audiohookd.spool.safe_files import is_regular, open_regular, write_new
from audiohookd.spool.write.draft_files import DraftPaths

#: The suffixes of a draft's files. Any other file is not ours, and stays where it is.
_SUFFIXES = frozenset({paths.JOURNAL, paths.AUDIO, paths.SIDECAR, f"{paths.SIDECAR}.tmp"})


class RepairResult(NamedTuple):
    """What became of a draft.

    ``ready``: a recording, at ``path``. ``broken``: nothing can be made of it; it was put aside, and ``reason`` says
    why. ``empty``: nothing had been written when it was left behind; it is gone. ``failed``: the disk refused,
    ``reason`` says how; it stays, to be tried again.
    """

    id: str
    outcome: Literal["ready", "broken", "empty", "failed"]
    path: Path | None = None
    reason: str = ""


def repair_drafts(spool: SpoolPaths, live: Container[str] = ()) -> Iterator[RepairResult]:
    """Deals with one draft at each step, until there is none left.

    :param live: the ids of drafts that are in somebody's care; looked at when it is their turn.
    """
    drafts = _drafts(spool.draft)
    for recording_id in sorted(drafts):
        if recording_id not in live:
            mended = _repair(spool, recording_id)
            if mended is not None:
                yield mended


def _drafts(directory: Path) -> set[str]:
    found: set[str] = set()
    foreign: set[str] = set()
    with os.scandir(directory) as entries:
        for entry in entries:
            recording_id, _, suffix = entry.name.partition(".")
            if suffix in _SUFFIXES and paths.RECORDING_ID.fullmatch(recording_id):
                # To open a FIFO would take for ever, and what a link leads to is not ours.
                (found if entry.is_file(follow_symlinks=False) else foreign).add(recording_id)
    return found - foreign


def _repair(spool: SpoolPaths, recording_id: str) -> RepairResult | None:
    draft = DraftPaths(spool.draft, recording_id)
    try:
        files = _files(spool, recording_id)
        if not files:
            return None  # finished since it was looked for
        if _is_empty(draft):
            return _remove(recording_id, files)
        if draft.journal in files or draft.sidecar in files:
            return RepairResult(recording_id, "ready", finalize_draft(draft, spool.ready, is_left_behind=True))
        return _move_to_broken(spool, recording_id, "there is no journal")
    except (ValueError, ArithmeticError, RecursionError) as fault:
        return _give_up(spool, recording_id, f"the journal or the sidecar cannot be read: {fault}")
    except OSError as fault:
        return RepairResult(recording_id, "failed", reason=f"{fault.filename or spool.draft}: {fault.strerror}")


def _files(spool: SpoolPaths, recording_id: str) -> list[Path]:
    paths = (spool.draft / f"{recording_id}.{suffix}" for suffix in sorted(_SUFFIXES))
    return [path for path in paths if is_regular(path)]


def _is_empty(draft: DraftPaths) -> bool:
    """No byte of a call is in it: a crash came just after it was made, or power went before any was on the disk."""
    if is_regular(draft.sidecar) or _start(draft.journal) or _start(draft.partial_sidecar):
        return False
    return wav.is_bare(_start(draft.audio))


def _start(path: Path) -> bytes:
    """As much of a file as tells whether there is audio in it; nothing where none is."""
    try:
        with open(open_regular(path, os.O_RDONLY), "rb") as file:
            return file.read(wav.ENOUGH)
    except FileNotFoundError:
        return b""


def _remove(recording_id: str, files: list[Path]) -> RepairResult:
    for path in files:
        path.unlink()
    return RepairResult(recording_id, "empty")


def _give_up(spool: SpoolPaths, recording_id: str, reason: str) -> RepairResult:
    try:
        return _move_to_broken(spool, recording_id, reason)
    except OSError as fault:
        return RepairResult(recording_id, "failed", reason=f"{reason}; and cannot be put aside: {fault.strerror}")


def _move_to_broken(spool: SpoolPaths, recording_id: str, reason: str) -> RepairResult:
    """The reason first, on the disk: files that lie there without one would be a riddle."""
    spool.broken.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    write_new(spool.broken / f"{recording_id}.{paths.REASON}", [f"{reason}\n".encode("utf-8", "backslashreplace")])
    sync_directory(spool.directory)
    sync_directory(spool.broken)
    for path in _files(spool, recording_id):
        path.rename(spool.broken / path.name)
    sync_directory(spool.broken)
    return RepairResult(recording_id, "broken", reason=reason)
