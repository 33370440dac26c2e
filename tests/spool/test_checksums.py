"""Checksums: after a power loss, a recording has only bytes that were received."""

import io
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from audiohookd.protocol.media import Media
from audiohookd.spool.finalize import finalize_draft
from audiohookd.spool.format import wav
from audiohookd.spool.format.checksums import (
    BLOCK,
    Checksum,
    RunningChecksum,
    Verified,
    checksum_line,
    read_checksums,
    verify,
)
from audiohookd.spool.format.journal import finished_line, journal_header, read_lines
from audiohookd.spool.paths import SpoolPaths
from audiohookd.spool.repair import repair_drafts
from audiohookd.spool.write.draft_files import DraftFiles, DraftPaths
from tests.spool.faulty_disk import FaultyRig, raised_by
from tests.spool.left_behind import ID, empty_spool, leave_behind, sidecar
from tests.spool.spool_rig import ALL_MEDIA, MONO, STARTED_AT, STEREO, shape

#: Audio without zero bytes, so that it differs from the zeros of a power loss.
VOICE = bytes(1 + number * 7 % 255 for number in range(60_000))


@pytest.fixture
def spool(tmp_path: Path) -> SpoolPaths:
    return empty_spool(tmp_path)


class Committed:
    """A draft that a crash left behind, with commits of the given sizes in bytes of audio."""

    def __init__(self, spool: SpoolPaths, commits: list[int], media: Media = MONO, end: bytes | None = None) -> None:
        self.paths = DraftPaths(spool.draft, ID)
        self.start = wav.header_bytes(media)
        self.size = 0
        files = DraftFiles(self.paths, journal_header(ID, STARTED_AT, media))
        for number, size in enumerate(commits):
            is_last = number == len(commits) - 1
            files.append([VOICE[self.size : self.size + size]], [], end if is_last else None, is_final=is_last)
            self.size += size

    def lose_audio(self, start: int, end: int) -> None:
        """Replaces the audio from ``start`` to ``end`` by zero bytes."""
        zero(self.paths.audio, self.start + start, self.start + end)

    @property
    def ends(self) -> list[int]:
        """The ends of the checksums."""
        return [checksum.end for checksum in read_checksums(read_lines(self.paths.journal))]


def zero(path: Path, start: int, end: int) -> None:
    """Simulates data that did not reach the disk in a file with its full size."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes(end - start))
        file.truncate()


def repaired(spool: SpoolPaths, media: Media = MONO) -> bytes:
    (result,) = repair_drafts(spool)
    assert result.outcome == "ready"
    size = sidecar(spool)["recording"]["samples"] * media.frame_bytes
    recorded = result.path.read_bytes()
    audio = recorded[wav.header_bytes(media) :][:size]
    assert recorded == wav.header(media, size) + audio + wav.padding(size)
    return audio


@pytest.mark.parametrize("media", ALL_MEDIA, ids=shape)
def test_zero_bytes_after_synced_audio_are_cut_off(spool: SpoolPaths, media: Media) -> None:
    draft = Committed(spool, [4000, 4000, 4000], media)
    draft.lose_audio(8000, 8192)
    assert repaired(spool, media) == VOICE[:8000]
    recording = sidecar(spool)["recording"]
    assert recording["closeReason"] == "crash"
    assert recording["recovered"] == {"missingFrom": 8000 // media.frame_bytes, "journalCut": False}
    assert recording["missingSamples"] == 4000 // media.frame_bytes


@pytest.mark.parametrize("size", [0, 1, 7999])
def test_an_ended_recording_records_what_it_lost(spool: SpoolPaths, size: int) -> None:
    draft = Committed(spool, [4000, 4000], end=finished_line({"closeReason": "end"}) + b"\n")
    draft.lose_audio(size, 8000)
    kept = size // 4000 * 4000
    assert repaired(spool) == VOICE[:kept]
    recording = sidecar(spool)["recording"]
    assert recording["closeReason"] == "end"
    assert recording["recovered"] == {"missingFrom": kept, "journalCut": False}
    assert recording["missingSamples"] == 8000 - kept


def test_an_ended_recording_without_loss_is_not_marked_recovered(spool: SpoolPaths) -> None:
    Committed(spool, [4000, 4000], end=finished_line({"closeReason": "end"}) + b"\n")
    assert repaired(spool) == VOICE[:8000]
    assert sidecar(spool)["recording"]["closeReason"] == "end"
    assert "recovered" not in sidecar(spool)["recording"]


def test_audio_after_a_lost_block_is_cut_off(spool: SpoolPaths) -> None:
    """The disk may write blocks in any order."""
    draft = Committed(spool, [4000] * 4)
    with draft.paths.audio.open("r+b") as audio:
        audio.seek(draft.start + 4100)
        audio.write(bytes(100))
    assert repaired(spool) == VOICE[:4000]


def test_old_content_of_the_disk_is_cut_off(spool: SpoolPaths) -> None:
    """With ``data=writeback`` of ext4, a block may have the old content of another file."""
    draft = Committed(spool, [4000] * 4)
    with draft.paths.audio.open("r+b") as audio:
        audio.seek(draft.start + 8192)
        audio.write(b"someone else's" * 100)
    assert repaired(spool) == VOICE[:8000]


def test_a_kill_between_the_two_writes_of_a_commit_costs_nothing(spool: SpoolPaths) -> None:
    draft = Committed(spool, [4000, 4000])
    lines = draft.paths.journal.read_bytes().splitlines(keepends=True)
    draft.paths.journal.write_bytes(b"".join(lines[:-1]))
    assert repaired(spool) == VOICE[:8000]
    assert sidecar(spool)["recording"]["recovered"]["missingFrom"] == 8000


@pytest.mark.parametrize("lost", [1, 100, 4000])
def test_zero_bytes_without_a_checksum_are_cut_off(spool: SpoolPaths, lost: int) -> None:
    draft = Committed(spool, [4000, 4000])
    lines = draft.paths.journal.read_bytes().splitlines(keepends=True)
    draft.paths.journal.write_bytes(b"".join(lines[:-1]))
    draft.lose_audio(8000 - lost, 8000)
    assert repaired(spool) == VOICE[: 8000 - lost]


def test_a_journal_that_ends_in_zero_bytes_is_torn(spool: SpoolPaths) -> None:
    draft = Committed(spool, [4000, 4000])
    size = draft.paths.journal.stat().st_size
    zero(draft.paths.journal, size - 30, size + 2000)
    assert repaired(spool) == VOICE[:8000]
    assert sidecar(spool)["recording"]["recovered"] == {"missingFrom": 8000, "journalCut": True}


def test_zero_bytes_before_an_entry_are_ignored(spool: SpoolPaths) -> None:
    note = b'{"timestamp":"PT1S","type":"logger","data":{"msg":"noted"}}\n'
    leave_behind(spool, b"\x01\x02", journal=note + bytes(100) + note)
    assert [result.outcome for result in repair_drafts(spool)] == ["ready"]
    assert [entry["data"] for entry in sidecar(spool)["body"]] == [{"msg": "noted"}] * 2


def test_a_draft_of_an_earlier_version_is_kept_as_it_is(spool: SpoolPaths) -> None:
    """The draft has no checksums, and silence in L16 is zero bytes."""
    audio = VOICE[:100] + bytes(9000)
    paths = leave_behind(spool, audio, media=MONO)
    paths.journal.write_bytes(paths.journal.read_bytes().replace(b',"checksum":"crc32"', b""))
    assert repaired(spool) == audio


def test_checksums_do_not_become_entries(spool: SpoolPaths) -> None:
    Committed(spool, [4000, 4000])
    repaired(spool)
    assert sidecar(spool)["body"] == []


def test_silence_for_lost_audio_has_a_checksum(tmp_path: Path) -> None:
    """With a wrong checksum for the silence, a repair would cut off the following audio."""
    rig = FaultyRig(tmp_path)
    draft = rig.begin()
    for room in (0, 333, 1000):
        raised_by(lambda: draft.audio(VOICE[:600]))
        rig.commit()
        rig.disk.refuse(28, "write", suffix="wav", room=room)
        raised_by(lambda: draft.audio(VOICE[:600]))
        rig.commit()
        rig.disk.heal()
    rig.commit(3)
    left_behind = rig.draft.with_name("left_behind")
    shutil.copytree(rig.draft, left_behind)
    audio = rig.drafted_audio()
    assert b"\xff" * 600 in audio
    path = finalize_draft(DraftPaths(left_behind, "a"), rig.ready, is_left_behind=True)
    assert path.read_bytes()[wav.header_bytes(STEREO) :] == audio
    ends = [checksum.end for checksum in read_checksums(read_lines(rig.draft / "a.jsonl"))]
    assert ends[-1] == len(audio)


def test_a_failed_checksum_is_retried(tmp_path: Path) -> None:
    rig = FaultyRig(tmp_path)
    draft = rig.begin()
    rig.commit()
    rig.disk.refuse(28, "write", suffix="jsonl", room=20)
    draft.audio(VOICE[:600])
    rig.commit(2)
    assert rig.writer.fault is not None
    assert rig.drafted_audio() == VOICE[:600]
    rig.disk.heal()
    rig.commit()
    assert rig.writer.fault is None
    checksums = list(read_checksums(read_lines(rig.draft / "a.jsonl")))
    running = RunningChecksum()
    running.add([VOICE[:600]])
    assert checksums == [Checksum(600, running.crc32)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    commits=st.lists(st.integers(1, 6000), min_size=1, max_size=8),
    kept=st.floats(0, 1),
    more=st.integers(0, BLOCK),
    journal_kept=st.floats(0, 1),
    journal_more=st.integers(0, 300),
)
@example([1000, 3000], 0.5, 0, 1.0, 0)
def test_any_synced_part_of_both_files_is_recovered(
    tmp_path: Path, commits: list[int], kept: float, more: int, journal_kept: float, journal_more: int
) -> None:
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    spool = empty_spool(tmp_path)
    draft = Committed(spool, commits)
    synced = int(draft.size * kept)
    draft.lose_audio(synced, min(draft.size, synced + more))
    first, *_ = read_lines(draft.paths.journal)
    whole = draft.paths.journal.stat().st_size
    journal_synced = len(first) + int((whole - len(first)) * journal_kept)
    zero(draft.paths.journal, journal_synced, min(whole, journal_synced + journal_more))
    known = [end for end in draft.ends if end <= synced]
    audio = repaired(spool)
    assert VOICE[:synced].startswith(audio)
    assert len(audio) >= max(known, default=0)
    assert sidecar(spool)["recording"]["recovered"]["missingFrom"] == len(audio)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5), st.binary(max_size=20))
def test_written_audio_matches_its_checksums(commits: list[bytes], tail: bytes) -> None:
    running, lines, size = RunningChecksum(), [], 0
    for commit in commits:
        running.add([commit[:3], commit[3:]])
        size += len(commit)
        assert running.crc32 is not None
        lines.append(checksum_line(Checksum(size, running.crc32)))
        running.restart(size)
    audio = b"".join(commits) + tail
    found = verify(io.BytesIO(audio), len(audio), read_checksums(lines))
    assert found == Verified(size + len(tail.rstrip(b"\0")), size + len(tail.rstrip(b"\0")))


def test_lines_that_are_no_checksums_are_skipped() -> None:
    line = checksum_line(Checksum(5, 7))
    lines = [line[:-1], b"\0" + line, line[:-3] + b"\n", b"{}\n", line.replace(b"5", b"-5"), os.fsencode("\n"), line]
    assert list(read_checksums(lines)) == [Checksum(5, 7)]
