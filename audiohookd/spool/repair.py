"""Repairs drafts: finalizes recordings that a crash or a disk error left behind.

All of it blocks: call it in worker threads, or in a program of its own while no daemon has locked the spool.
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

#: The suffixes of a draft's files. Repair does not touch other files.
_SUFFIXES = frozenset({paths.JOURNAL, paths.AUDIO, paths.SIDECAR, f"{paths.SIDECAR}.tmp"})


class RepairResult(NamedTuple):
    """The result of the repair of a draft, by its ``outcome``:

    - ``ready``: the recording is finished, at ``path``;
    - ``broken``: the draft cannot be repaired and was moved to ``broken``; ``reason`` says why;
    - ``empty``: the draft had no data and was removed;
    - ``failed``: a file operation failed, as ``reason`` says; the draft stays in ``draft`` for a retry.
    """

    id: str
    outcome: Literal["ready", "broken", "empty", "failed"]
    path: Path | None = None
    reason: str = ""


def repair_drafts(spool: SpoolPaths, live: Container[str] = ()) -> Iterator[RepairResult]:
    """Repairs all drafts of ``spool``, one at each step.

    :param live: the ids of drafts in use, which are skipped. It may change between two steps.
    """
    drafts = _drafts(spool.draft)
    for recording_id in sorted(drafts):
        if recording_id not in live:
            result = _repair(spool, recording_id)
            if result is not None:
                yield result


def _drafts(directory: Path) -> set[str]:
    found: set[str] = set()
    foreign: set[str] = set()
    with os.scandir(directory) as entries:
        for entry in entries:
            recording_id, _, suffix = entry.name.partition(".")
            if suffix in _SUFFIXES and paths.RECORDING_ID.fullmatch(recording_id):
                # Opening a FIFO would block for ever, and the target of a link does not belong to the draft.
                (found if entry.is_file(follow_symlinks=False) else foreign).add(recording_id)
    return found - foreign


def _repair(spool: SpoolPaths, recording_id: str) -> RepairResult | None:
    draft = DraftPaths(spool.draft, recording_id)
    try:
        files = _files(spool, recording_id)
        if not files:
            return None  # finished since the directory was listed
        if _is_empty(draft):
            return _remove(recording_id, files)
        if draft.journal in files or draft.sidecar in files:
            return RepairResult(recording_id, "ready", finalize_draft(draft, spool.ready, is_left_behind=True))
        return _move_to_broken(spool, recording_id, "there is no journal")
    except (ValueError, ArithmeticError, RecursionError) as error:
        return _give_up(spool, recording_id, f"the journal or the sidecar cannot be read: {error}")
    except OSError as error:
        return RepairResult(recording_id, "failed", reason=f"{error.filename or spool.draft}: {error.strerror}")


def _files(spool: SpoolPaths, recording_id: str) -> list[Path]:
    paths = (spool.draft / f"{recording_id}.{suffix}" for suffix in sorted(_SUFFIXES))
    return [path for path in paths if is_regular(path)]


def _is_empty(draft: DraftPaths) -> bool:
    """Whether the draft has no data of a call: a crash or a power loss came before any reached the disk."""
    if is_regular(draft.sidecar) or _start(draft.journal) or _start(draft.partial_sidecar):
        return False
    return wav.is_bare(_start(draft.audio))


def _start(path: Path) -> bytes:
    """The first bytes of a file, as many as :func:`wav.is_bare` needs; empty if the file does not exist."""
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
    except OSError as error:
        reason = f"{reason}; and the draft cannot be moved to broken/: {error.strerror}"
        return RepairResult(recording_id, "failed", reason=reason)


def _move_to_broken(spool: SpoolPaths, recording_id: str, reason: str) -> RepairResult:
    """Moves the draft to ``broken``. Syncs the reason to disk first, so that no draft is there without one."""
    spool.broken.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    write_new(spool.broken / f"{recording_id}.{paths.REASON}", [f"{reason}\n".encode("utf-8", "backslashreplace")])
    sync_directory(spool.directory)
    sync_directory(spool.broken)
    for path in _files(spool, recording_id):
        path.rename(spool.broken / path.name)
    sync_directory(spool.broken)
    return RepairResult(recording_id, "broken", reason=reason)
