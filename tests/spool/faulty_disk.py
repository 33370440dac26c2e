"""Drafts on a disk with injected errors, also in the middle of a write."""

import json
import os
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock

from audiohookd.observe.counters import Counters
from audiohookd.protocol.media import Media
from audiohookd.spool.draft import Draft
from audiohookd.spool.finalize import finalize_draft
from audiohookd.spool.format import wav
from audiohookd.spool.format.checksums import is_checksum
from audiohookd.spool.format.journal import journal_header
from audiohookd.spool.write.append_file import Syscalls
from audiohookd.spool.write.draft_files import DraftFiles, DraftPaths
from audiohookd.spool.write.group_commit import CommitLimits, GroupWriter, Intervals, Pools
from audiohookd.testing import MemoryWorkers
from tests.spool.spool_rig import FLUSH_INTERVAL, STARTED_AT, STEREO, result_of

SPEECH = bytes(range(1, 101)) * 4  # 200 samples of two channels, none of them silence


class FaultyDisk:
    """The real disk, until a test injects errors.

    ``accepted`` counts the written bytes of audio that are not silence, after a header of ``header_bytes``.
    """

    def __init__(self) -> None:
        sync = self._sync
        self.calls = Syscalls(self._open, self._write, self._truncate, self._close, sync, sync, self._sync_all)
        self.synced: list[tuple[Path, int]] = []  # with the size at the sync
        self.whole_syncs = 0
        self.accepted = self.header_bytes = 0
        self.portion = 1 << 30  # most bytes of one write
        self._faults: dict[str, int] = {}
        self._room = 0
        self._suffix = ""
        self._open_files: set[int] = set()
        weakref.finalize(self, _close_all, self._open_files)  # drafts that a test does not finish

    def refuse(self, fault: int, *calls: str, room: int = 0, suffix: str = "") -> None:
        """Makes ``calls`` fail: ``open``, ``look``, ``write``, ``truncate``, ``close``, ``sync``, ``sync_all``.

        :param room: bytes that can still be written before.
        :param suffix: affects only files with names that end so.
        """
        self._faults.update(dict.fromkeys(calls or ("write",), fault))
        self._room = room
        self._suffix = suffix

    def heal(self) -> None:
        self._faults.clear()

    def _open(self, path: Path, flags: int, mode: int) -> int:
        self._check("open" if flags & os.O_CREAT else "look", path)
        file = os.open(path, flags, mode)
        self._open_files.add(file)
        return file

    def _close(self, file: int) -> None:
        path = _path(file)
        self._open_files.discard(file)
        os.close(file)
        self._check("close", path)

    def _write(self, file: int, pieces: Sequence[bytes | memoryview], offset: int) -> int:
        whole = b"".join(pieces)[: self.portion]
        if "write" in self._faults and _path(file).name.endswith(self._suffix):
            whole = whole[: self._room]
            self._room -= len(whole)
            if not whole:
                self._check("write", _path(file))
        if _path(file).suffix == ".wav":
            audio = whole[max(0, self.header_bytes - offset) :]
            self.accepted += len(audio) - audio.count(b"\xff") - audio.count(b"\0")
        return os.pwrite(file, whole, offset)

    def _truncate(self, file: int, size: int) -> None:
        self._check("truncate", _path(file))
        os.ftruncate(file, size)

    def _sync(self, file: int) -> None:
        self._check("sync", _path(file))
        self.synced.append((_path(file), os.fstat(file).st_size))

    def _sync_all(self, file: int) -> None:
        place = _path(file)
        self._check("sync_all", place)
        self.whole_syncs += 1
        self.synced += [(path, path.stat().st_size) for path in (place, *place.iterdir())]

    def _check(self, call: str, path: Path) -> None:
        if call in self._faults and path.name.endswith(self._suffix):
            raise OSError(self._faults[call], os.strerror(self._faults[call]))


class FaultyRig:
    """A writer, its clock and its pools."""

    def __init__(self, directory: Path, limits: CommitLimits | None = None, sync: float = 0.0) -> None:
        self.clock = Clock()
        self.disk = FaultyDisk()
        self.writing, self.syncing = MemoryWorkers(), MemoryWorkers()
        self.counters = Counters()
        pools = Pools(self.writing, MemoryWorkers(), self.syncing)
        intervals = Intervals(FLUSH_INTERVAL, sync)
        self.writer = GroupWriter(
            self.clock, pools, intervals, limits or CommitLimits(), self.counters.count, self.disk.calls
        )
        self.draft, self.ready = directory / "draft", directory / "ready"
        for place in (self.draft, self.ready):
            place.mkdir(parents=True, exist_ok=True)
        self._media: dict[str, Media | None] = {}

    def begin(self, name: str = "a", media: Media | None = STEREO) -> Draft:
        paths = DraftPaths(self.draft, name)
        files = DraftFiles(paths, journal_header(name, STARTED_AT, media), self.disk.calls)
        self._media[name] = media
        self.disk.header_bytes = wav.header_bytes(media) if media else 0
        finish: Callable[[], Deferred[Path]] = lambda: execute(finalize_draft, paths, self.ready)  # noqa: E731
        return Draft(name, files, self.writer, finish)

    def commit(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(FLUSH_INTERVAL)
            self.writing.run()

    def stop(self) -> None:
        """Flushes the writer, as a stop does."""
        self.writer.flush()
        self.writing.run()

    def end(self, draft: Draft, commits: int = 1, stops: bool = False) -> "Recorded":
        """Finishes and finalizes the draft, with ``commits`` commits, or with a stop."""
        finished = draft.finish({"closeReason": "end"})
        if stops:
            self.stop()
        else:
            self.commit(commits)
        return Recorded(result_of(finished))

    def drafted_audio(self, name: str = "a") -> bytes:
        media = self._media[name]
        assert media is not None
        return (self.draft / f"{name}.wav").read_bytes()[wav.header_bytes(media) :]

    def drafted_entries(self, name: str = "a") -> list[dict[str, Any]]:
        lines = (self.draft / f"{name}.jsonl").read_bytes().splitlines()[1:]
        return [json.loads(line) for line in lines if not is_checksum(line)]

    def drafted_gaps(self, name: str = "a") -> list[dict[str, Any]]:
        return [entry["data"] for entry in self.drafted_entries(name) if entry["type"] == "gap"]


class Recorded:
    """A ready recording."""

    def __init__(self, path: Path) -> None:
        self.sidecar = json.loads(path.with_suffix(".json").read_bytes())
        self.about = self.sidecar["recording"]
        self.gaps = self.about["gaps"]
        whole = path.read_bytes()
        start = whole.index(b"data") + 8
        self.audio = whole[start : start + int.from_bytes(whole[start - 4 : start], "little")]

    def entries(self, kind: str) -> list[Any]:
        return [entry["data"] for entry in self.sidecar["body"] if entry["type"] == kind]


def _close_all(files: set[int]) -> None:
    for file in files:
        os.close(file)


def _path(file: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{file}"))


def gap(samples: int, offset: int, fault: str = "ENOSPC", **other: object) -> dict[str, object]:
    """The data of a journal entry for a gap, as the writer writes it."""
    return {"samples": samples, "cause": "disk", "filled": True, "offset": offset, "fault": fault} | other


def raised_by(*calls: Callable[[], object]) -> list[str | None]:
    """The text of the OSError that each of ``calls`` raised, or None."""
    raised: list[str | None] = []
    for call in calls:
        try:
            call()
        except OSError as error:
            raised.append(error.strerror)
        else:
            raised.append(None)
    return raised
