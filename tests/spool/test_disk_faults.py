"""Disk errors during a call: lost audio, and the silence that replaces it."""

import errno
import os
from pathlib import Path

import pytest

from audiohookd.protocol.media import Media
from audiohookd.spool.format import wav
from audiohookd.spool.write.group_commit import CommitLimits
from audiohookd.spool.write.journal_writer import MAX_KEPT_BYTES
from tests.spool.faulty_disk import SPEECH, FaultyRig, gap, raised_by
from tests.spool.spool_rig import L16_STEREO, MONO, STEREO, result_of, shape

FULL = os.strerror(errno.ENOSPC)


@pytest.fixture
def rig(tmp_path: Path) -> FaultyRig:
    return FaultyRig(tmp_path / "spool")


class TestLostAudio:
    def test_silence_replaces_lost_audio_when_the_disk_recovers(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        draft.audio(SPEECH)
        rig.commit()
        rig.disk.refuse(errno.ENOSPC)
        draft.audio(SPEECH)
        rig.commit()
        assert rig.drafted_audio() == SPEECH
        rig.disk.heal()
        raised_by(lambda: draft.audio(SPEECH))
        rig.commit()
        assert rig.drafted_audio() == SPEECH + b"\xff" * 400 + SPEECH
        assert rig.drafted_gaps() == [gap(200, 200)]

    def test_silence_is_written_even_if_no_more_audio_comes(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        rig.disk.refuse(errno.EIO)
        draft.audio(SPEECH)
        rig.commit(5)
        rig.disk.heal()
        rig.commit()
        assert rig.drafted_audio() == b"\xff" * 400
        assert rig.drafted_gaps() == [gap(200, 0, "EIO")]
        assert rig.clock.getDelayedCalls() == []

    @pytest.mark.parametrize("media", [MONO, STEREO, L16_STEREO], ids=shape)
    @pytest.mark.parametrize("room", range(9))
    def test_a_gap_is_whole_samples_of_all_channels(self, rig: FaultyRig, media: Media, room: int) -> None:
        draft = rig.begin(media=media)
        rig.commit()
        rig.disk.refuse(errno.ENOSPC, room=room)
        draft.audio(SPEECH)
        rig.commit()
        kept = room // media.frame_bytes
        assert rig.drafted_audio() == SPEECH[: kept * media.frame_bytes]
        rig.disk.heal()
        recorded = rig.end(draft)
        samples = len(SPEECH) // media.frame_bytes
        assert recorded.audio == SPEECH[: kept * media.frame_bytes] + media.silence(samples - kept)
        assert recorded.gaps == [{"start": kept, **gap(samples - kept, kept)}]
        assert recorded.about["samples"] == samples

    def test_a_loss_over_many_commits_is_one_gap(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        draft.audio(SPEECH)
        rig.commit()
        for fault in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
            rig.disk.refuse(fault)
            raised_by(lambda: draft.audio(SPEECH))
            rig.commit(3)
        rig.disk.heal()
        draft.audio(SPEECH)
        rig.commit()
        assert rig.drafted_gaps() == [gap(600, 200)]

    def test_two_episodes_make_two_gaps(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        for _ in range(2):
            rig.disk.refuse(errno.ENOSPC)
            raised_by(lambda: draft.audio(SPEECH))
            rig.commit()
            rig.disk.heal()
            raised_by(lambda: draft.audio(SPEECH))
            rig.commit()
        recorded = rig.end(draft)
        assert recorded.gaps == [{"start": at, **gap(200, at)} for at in (0, 400)]
        assert recorded.audio == (b"\xff" * 400 + SPEECH) * 2

    def test_a_loss_while_silence_is_written_extends_the_gap(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        rig.commit()
        rig.disk.refuse(errno.ENOSPC)
        draft.audio(SPEECH)
        rig.commit()
        rig.disk.refuse(errno.ENOSPC, room=101, suffix="wav")
        raised_by(lambda: draft.audio(SPEECH))
        rig.commit()
        assert rig.drafted_audio() == b"\xff" * 100
        rig.disk.heal()
        assert rig.end(draft).gaps == [{"start": 0, **gap(400, 0)}]

    def test_a_torn_tail_is_truncated_before_the_next_write(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        rig.commit()
        draft.audio(SPEECH)
        note = b'{"type":"x","data":1}'
        draft.add_entry(note)
        rig.disk.refuse(errno.EIO, "write", "truncate", room=len(note + b"\n") + 399)
        rig.commit()
        rig.disk.heal()
        rig.commit()
        assert rig.drafted_audio() == SPEECH[:398] + b"\xff\xff"
        assert {entry["type"] for entry in rig.drafted_entries()} == {"gap", "x"}

    def test_a_loss_of_one_draft_does_not_affect_others(self, rig: FaultyRig) -> None:
        before, refused, after = rig.begin("a"), rig.begin("b"), rig.begin("c")
        rig.disk.refuse(errno.ENOSPC, suffix="b.wav")
        for draft in (before, refused, after):
            draft.audio(SPEECH)
        rig.commit()
        assert rig.drafted_audio("a") == rig.drafted_audio("c") == SPEECH
        assert raised_by(*(lambda draft=draft: draft.audio(b"") for draft in (before, after))) == [None, None]
        assert raised_by(lambda: refused.add_entry(b"{}")) == [FULL]

    def test_lost_audio_is_not_kept_in_memory(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        rig.disk.refuse(errno.ENOSPC, "open", "write")
        for _ in range(200):
            raised_by(lambda: draft.audio(SPEECH * 100))
            rig.commit()
            assert (draft.waiting, rig.writer.waiting) == (0, 0)
        rig.disk.heal()
        recorded = rig.end(draft)
        assert recorded.audio == b"\xff" * (200 * 40_000)

    def test_lost_audio_is_counted_in_samples(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        rig.commit()
        rig.disk.refuse(errno.ENOSPC, room=100)
        draft.audio(SPEECH)
        rig.commit(3)
        assert rig.counters.value("disk_lost_samples") == 150
        assert rig.counters.value("disk_errors", "ENOSPC") == 3


class TestLongSilence:
    def test_silence_is_written_in_portions_and_new_audio_waits(self, tmp_path: Path) -> None:
        rig = FaultyRig(tmp_path, CommitLimits(silence=1000))
        draft = rig.begin()
        rig.disk.refuse(errno.ENOSPC)
        draft.audio(SPEECH * 8)
        rig.commit()
        rig.disk.heal()
        raised_by(lambda: draft.audio(SPEECH))
        draft.add_entry(b'{"type":"x","data":1}')
        sizes = []
        for _ in range(4):
            rig.commit()
            sizes.append(len(rig.drafted_audio()))
        assert sizes == [1000, 2000, 3000, 3600]
        assert rig.drafted_audio() == b"\xff" * 3200 + SPEECH
        assert rig.drafted_entries() == [
            {"timestamp": "PT0S", "type": "gap", "data": gap(1600, 0)},
            {"type": "x", "data": 1},
        ]

    def test_all_drafts_of_a_commit_share_the_limit_of_silence(self, tmp_path: Path) -> None:
        rig = FaultyRig(tmp_path, CommitLimits(silence=1001))
        drafts = [rig.begin(name) for name in "abcde"]
        rig.disk.refuse(errno.ENOSPC)
        for draft in drafts:
            draft.audio(SPEECH)
        rig.commit()
        rig.disk.heal()
        rig.commit()
        assert [len(rig.drafted_audio(name)) for name in "abcde"] == [200] * 5

    def test_the_end_of_a_recording_waits_for_silence(self, tmp_path: Path) -> None:
        rig = FaultyRig(tmp_path, CommitLimits(silence=100))
        draft = rig.begin()
        rig.disk.refuse(errno.ENOSPC)
        draft.audio(SPEECH)
        rig.commit()
        rig.disk.heal()
        recorded = rig.end(draft, commits=5)
        assert recorded.audio == b"\xff" * 400
        assert "recovered" not in recorded.about

    def test_a_stop_writes_all_pending_silence(self, tmp_path: Path) -> None:
        rig = FaultyRig(tmp_path, CommitLimits(silence=100))
        draft = rig.begin()
        rig.disk.refuse(errno.ENOSPC)
        draft.audio(SPEECH)
        rig.commit()
        rig.disk.heal()
        flushed = rig.writer.flush()
        rig.writing.run()
        assert result_of(flushed) is None
        assert rig.drafted_audio() == b"\xff" * 400


class TestFilesThatCannotBeCreated:
    def test_files_are_created_later_and_lost_audio_is_silence(self, rig: FaultyRig) -> None:
        rig.disk.refuse(errno.EMFILE, "open")
        draft = rig.begin()
        draft.audio(SPEECH)
        draft.add_entry(b'{"type":"x","data":1}')
        rig.commit(3)
        assert list(rig.draft.iterdir()) == []
        rig.disk.heal()
        raised_by(lambda: draft.audio(SPEECH))
        recorded = rig.end(draft)
        assert recorded.audio == b"\xff" * 400 + SPEECH
        assert recorded.gaps == [{"start": 0, **gap(200, 0, "EMFILE")}]
        assert recorded.entries("x") == [1]

    def test_an_audio_file_is_created_after_its_journal(self, rig: FaultyRig) -> None:
        rig.disk.refuse(errno.ENOSPC, suffix="jsonl", room=10)
        draft = rig.begin()
        draft.audio(SPEECH)
        rig.commit()
        assert [path.read_bytes() for path in rig.draft.iterdir()] == [b""]
        rig.disk.heal()
        rig.commit()
        assert rig.drafted_audio() == b"\xff" * 400

    def test_a_header_that_the_full_disk_refused_is_written_later(self, rig: FaultyRig) -> None:
        rig.disk.refuse(errno.ENOSPC, suffix="wav", room=wav.header_bytes(STEREO) - 1)
        draft = rig.begin()
        draft.audio(SPEECH)
        rig.commit()
        assert (rig.draft / "a.wav").stat().st_size == 0
        rig.disk.heal()
        recorded = rig.end(draft)
        assert (recorded.audio, recorded.about["samples"]) == (b"\xff" * 400, 200)

    def test_files_of_another_recording_are_never_overwritten(self, rig: FaultyRig) -> None:
        (rig.draft / "a.wav").write_bytes(b"somebody's call")
        draft = rig.begin()
        draft.audio(SPEECH)
        rig.commit()
        assert raised_by(lambda: draft.audio(SPEECH), lambda: draft.audio(SPEECH)) == ["File exists", None]
        finished = draft.finish({})
        rig.commit()
        with pytest.raises(FileExistsError):
            result_of(finished)
        assert (rig.draft / "a.wav").read_bytes() == b"somebody's call"
        assert draft.waiting == 0
        assert rig.writer.fault is None
        assert rig.counters.items() == []


class TestJournal:
    def test_a_journal_keeps_lines_while_writes_fail(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        rig.commit()
        rig.disk.refuse(errno.ENOSPC, room=30)
        for number in range(10):
            raised_by(lambda number=number: draft.add_entry(b'{"type":"x","data":%d}' % number))  # type: ignore[misc]
            rig.commit()
        assert rig.drafted_entries() == [{"type": "x", "data": 0}]
        rig.disk.heal()
        recorded = rig.end(draft)
        assert recorded.entries("x") == list(range(10))
        assert "recovered" not in recorded.about

    def test_a_journal_drops_the_newest_lines_and_counts_them(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        rig.commit()
        rig.disk.refuse(errno.ENOSPC)
        line = b'{"type":"x","data":"%s"}' % (b"-" * (MAX_KEPT_BYTES // 10))
        for _ in range(20):
            raised_by(lambda: draft.add_entry(line))
            rig.commit()
        rig.disk.heal()
        draft.add_entry(b'{"type":"x","data":"last"}')
        recorded = rig.end(draft)
        assert len(recorded.entries("x")) == 10
        assert recorded.entries("x")[-1] == "last"
        assert [said["msg"] for said in recorded.entries("logger")] == [
            "dropped 11 journal entries that belong here: they could not be written to disk"
        ]
