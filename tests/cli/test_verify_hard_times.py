"""The check accepts recordings after disk errors, crashes and power loss."""

import errno
import io
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from hypothesis import event, given, settings
from hypothesis import strategies as st

from audiohookd.cli.verify import check
from audiohookd.protocol.media import Media
from audiohookd.spool.format.journal import finished_line, journal_header
from audiohookd.spool.paths import SpoolPaths
from audiohookd.spool.repair import RepairResult, repair_drafts
from audiohookd.spool.write.append_file import Syscalls
from audiohookd.spool.write.draft_files import DraftFiles, DraftPaths
from tests.spool.spool_rig import ALL_MEDIA, STARTED_AT

ID = "e160e428-53e2-487c-977d-96989bf5c99d"
START = 4000


class Step(NamedTuple):
    """The audio and gaps before a commit, and how many bytes of them the disk accepts; None: all."""

    samples: int
    is_gap: bool
    is_filled: bool
    takes: int | None


class MoodyDisk:
    """A disk that accepts a number of bytes, then fails."""

    def __init__(self) -> None:
        self.takes: int | None = None

    def write(self, file: int, pieces: Sequence[bytes | memoryview], at: int) -> int:
        if self.takes is None:
            return os.pwritev(file, pieces, at)
        if self.takes == 0:
            raise OSError(errno.ENOSPC, "full")
        piece = bytes(pieces[0])[: self.takes]
        self.takes -= len(piece)
        return os.pwrite(file, piece, at)


class Writing:
    """Makes a recording as recorder and writer do."""

    def __init__(self, spool: SpoolPaths, media: Media) -> None:
        self.media = media
        self.disk = MoodyDisk()
        self.files = DraftFiles(
            DraftPaths(spool.draft, ID), journal_header(ID, STARTED_AT, media), Syscalls(write=self.disk.write)
        )
        self.position = START
        self.given = 0
        self.held: list[bytes] = []
        self.commit([], [entry("recording", {"startPosition": START})])

    def step(self, step: Step) -> None:
        audio = self.media.silence(step.samples) if step.is_gap else b"\x55" * (step.samples * self.media.frame_bytes)
        journal = []
        if step.is_gap:
            gap = {"start": self.position, "samples": step.samples, "cause": "paused", "filled": step.is_filled}
            journal.append(entry("gap", gap | {"offset": self.given}))
        self.position += step.samples
        if not step.is_gap or step.is_filled:
            self.given += step.samples
            self.disk.takes = step.takes
            self.commit([audio], journal)
        else:
            self.commit([], journal)

    def commit(self, audio: list[bytes], journal: list[bytes]) -> None:
        audio, self.held = self.held + audio, []
        outcome = self.files.append(audio, journal)
        while not outcome.lines_taken:  # the first write may take only data that was pending
            outcome = self.files.append(audio, journal)
        if not outcome.audio_taken:
            self.held = audio

    def end(self) -> None:
        self.files.append(self.held, [], finished_line({"closeReason": "end"}) + b"\n", is_final=True)


def entry(kind: str, data: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"timestamp": "PT0S", "type": kind, "data": data}) + b"\n"


def mended(spool: SpoolPaths) -> RepairResult:
    (outcome,) = repair_drafts(spool)
    return outcome


def faults(outcome: RepairResult) -> list[str]:
    assert outcome.path is not None, outcome
    sidecar = json.loads(outcome.path.with_suffix(".json").read_bytes())
    return check(sidecar, io.BytesIO(outcome.path.read_bytes()))


steps = st.lists(
    st.builds(
        Step,
        samples=st.integers(1, 2000),
        is_gap=st.booleans(),
        is_filled=st.booleans(),
        takes=st.none() | st.none() | st.integers(0, 3000),
    ),
    max_size=8,
)


def spool_in(directory: str) -> SpoolPaths:
    spool = SpoolPaths(Path(directory))
    for place in (spool.draft, spool.ready):
        place.mkdir()
    return spool


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(ALL_MEDIA), steps, st.sampled_from(["end", "full to the end", "kill", "power"]), st.data())
def test_recovered_recordings_have_no_errors(media: Media, steps: list[Step], end: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        spool = spool_in(directory)
        writing = Writing(spool, media)
        for step in steps:
            writing.step(step)
        writing.disk.takes = None if end == "end" else writing.disk.takes
        if end in ("end", "full to the end"):
            writing.end()
        else:
            writing.files._close()
        if end == "power":
            for path in sorted(spool.draft.iterdir()):
                os.truncate(path, data.draw(st.integers(0, path.stat().st_size)))
        outcome = mended(spool)
        event(f"{end}: {outcome.outcome}")
        assert outcome.outcome == "ready" or end == "power"
        if outcome.outcome == "ready":
            assert faults(outcome) == []


def test_audio_lost_to_a_disk_error_is_a_gap() -> None:
    with tempfile.TemporaryDirectory() as directory:
        spool = spool_in(directory)
        writing = Writing(spool, ALL_MEDIA[0])
        for step in (Step(800, False, True, None), Step(500, False, True, 100), Step(300, False, True, None)):
            writing.step(step)
        writing.end()
        outcome = mended(spool)
        assert outcome.path is not None
        sidecar = json.loads(outcome.path.with_suffix(".json").read_bytes())
        (gap,) = sidecar["recording"]["gaps"]
        assert (gap["cause"], gap["filled"], gap["offset"], gap["samples"]) == ("disk", True, 900, 400)
        assert faults(outcome) == []
        sidecar["recording"]["gaps"][0]["offset"] -= 1
        assert check(sidecar, io.BytesIO(outcome.path.read_bytes())) != []
