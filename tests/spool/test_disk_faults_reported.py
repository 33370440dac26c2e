"""Reports of disk errors to callers, log and counters, and the end of a recording during one."""

import errno
import os
from pathlib import Path

import pytest
from twisted.logger import capturedLogs

from audiohookd.spool.draft import LOGGED_RETRIES
from audiohookd.spool.write.group_commit import CommitLimits
from tests.spool.faulty_disk import SPEECH, FaultyRig, Recorded, gap, raised_by
from tests.spool.spool_rig import FLUSH_INTERVAL, is_pending, result_of

FULL = os.strerror(errno.ENOSPC)


@pytest.fixture
def rig(tmp_path: Path) -> FaultyRig:
    return FaultyRig(tmp_path / "spool")


class TestReports:
    def test_the_caller_gets_an_error_once_and_its_audio_is_accepted(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        rig.commit()
        rig.disk.refuse(errno.ENOSPC)
        draft.audio(SPEECH)
        rig.commit()
        assert raised_by(*[lambda: draft.audio(SPEECH)] * 3) == [FULL, None, None]
        rig.commit()
        assert raised_by(lambda: draft.audio(SPEECH), lambda: draft.add_entry(b"{}")) == [None, None]
        rig.disk.heal()
        assert len(rig.end(draft).audio) == 5 * 400

    def test_the_caller_gets_an_error_again_in_the_next_episode(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        for _ in range(2):
            rig.disk.refuse(errno.EIO)
            draft.audio(SPEECH)
            rig.commit()
            rig.disk.heal()
            rig.commit()
            assert raised_by(lambda: draft.add_entry(b"{}"), lambda: draft.add_entry(b"{}")) == [
                os.strerror(errno.EIO),
                None,
            ]
            rig.commit()

    def test_an_episode_logs_one_line_at_its_start_and_end(self, rig: FaultyRig) -> None:
        drafts = [rig.begin(str(number)) for number in range(7)]
        rig.commit()
        with capturedLogs() as logged:
            rig.disk.refuse(errno.ENOSPC, suffix="wav")
            for draft in drafts:
                draft.audio(SPEECH)
            rig.commit(4)
            assert rig.writer.fault == f"cannot write recordings: {FULL}"
            rig.disk.heal()
            rig.commit()
            assert rig.writer.fault is None
        path = rig.draft / "0.wav"
        assert [event["log_format"].format(**event) for event in logged] == [
            f"cannot write recordings: {FULL} {path}; 7 calls lose audio until the disk recovers",
            "disk recovered, recordings are written again after 2.0 s; 1400 samples lost",
        ]

    def test_an_episode_lasts_while_one_draft_is_affected(self, rig: FaultyRig) -> None:
        first, second = rig.begin("1"), rig.begin("2", None)
        rig.commit()
        rig.disk.refuse(errno.ENOSPC)
        first.audio(SPEECH)
        second.add_entry(b"{}")
        rig.commit()
        rig.disk.heal()
        rig.disk.refuse(errno.ENOSPC, suffix="wav")
        rig.commit(2)
        assert rig.writer.fault is not None
        rig.disk.heal()
        rig.commit()
        assert rig.writer.fault is None

    def test_invalid_audio_is_not_a_disk_error(self, rig: FaultyRig) -> None:
        odd, silent, good = rig.begin("odd"), rig.begin("silent", None), rig.begin("good")
        odd.audio("text")  # type: ignore[arg-type]
        silent.audio(SPEECH)
        good.audio(SPEECH)
        rig.commit()
        assert raised_by(lambda: silent.audio(b"")) == ["rejected audio: the recording has no media"]
        assert "not written" in str(raised_by(lambda: odd.audio(SPEECH)))
        assert rig.drafted_audio("good") == SPEECH
        assert rig.writer.fault is None
        assert rig.counters.items() == []
        assert rig.end(odd, commits=2).audio == b"\xff" * 4 + SPEECH

    def test_an_internal_error_affects_only_one_draft(self, rig: FaultyRig) -> None:
        class Odd(bytes):
            looks = 0

            def __len__(self) -> int:
                self.looks += 1
                if self.looks == 2:
                    raise RuntimeError("unexpected error")
                return super().__len__()

        odd, good = rig.begin("odd"), rig.begin("good")
        odd.audio(Odd(SPEECH))
        good.audio(SPEECH)
        rig.commit()
        assert rig.drafted_audio("good") == SPEECH
        assert "unexpected error" in str(raised_by(lambda: odd.audio(SPEECH)))
        recorded = rig.end(odd)
        assert recorded.audio == b"\xff" * 400 + SPEECH
        assert recorded.gaps == [{"start": 0, **gap(200, 0, "EINVAL")}]


class TestEndOfARecording:
    @pytest.mark.parametrize("suffix", ["", "wav", "jsonl"])
    def test_the_end_waits_for_the_disk(self, rig: FaultyRig, suffix: str) -> None:
        draft = rig.begin()
        draft.add_entry(b'{"type":"x","data":1}')
        draft.audio(SPEECH)
        rig.disk.refuse(errno.ENOSPC, suffix=suffix)
        finished = draft.finish({"closeReason": "end"})
        rig.commit(1000)
        assert is_pending(finished)
        rig.disk.heal()
        rig.commit()
        recorded = Recorded(result_of(finished))
        assert recorded.about["closeReason"] == "end"
        assert recorded.entries("x") == [1]
        assert recorded.gaps == [{"start": 0, **gap(200, 0)}]

    def test_a_failing_end_does_not_reject_new_calls(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        rig.commit()
        with capturedLogs() as logged:
            rig.disk.refuse(errno.EIO, suffix="a.wav")
            draft.audio(SPEECH)
            finished = draft.finish({})
            rig.commit(LOGGED_RETRIES)
            assert rig.writer.fault is not None
            rig.commit(100)
            assert rig.writer.fault is None
        assert is_pending(finished)
        assert [event["log_level"].name for event in logged] == ["error", "warn"]
        assert "the ends of 1 recordings still cannot be written" in logged[1]["log_format"].format(**logged[1])

    def test_a_stop_without_space_for_audio_records_the_missing_part(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        draft.audio(SPEECH)
        rig.commit()
        rig.disk.refuse(errno.ENOSPC, suffix="wav", room=40)
        draft.audio(SPEECH)
        recorded = rig.end(draft, stops=True)
        assert recorded.audio == SPEECH + SPEECH[:40]
        assert recorded.about["samples"] == 220
        assert recorded.gaps == [{"start": 220, **gap(180, 220, filled=False)}]
        assert recorded.about["closeReason"] == "end"
        assert "recovered" not in recorded.about
        assert rig.writer.fault is None

    def test_a_stop_with_space_for_some_silence_records_both_parts(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        draft.audio(SPEECH)
        rig.commit()
        rig.disk.refuse(errno.ENOSPC, suffix="wav")
        draft.audio(SPEECH)
        rig.commit()
        rig.disk.refuse(errno.ENOSPC, suffix="wav", room=40)
        recorded = rig.end(draft, stops=True)
        assert recorded.audio == SPEECH + b"\xff" * 40
        assert recorded.gaps == [
            {"start": 200, **gap(20, 200)},
            {"start": 220, **gap(180, 220, filled=False)},
        ]

    def test_a_stop_without_space_for_the_journal_ends_as_a_crash(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        draft.add_entry(b'{"type":"x","data":1}')
        draft.audio(SPEECH)
        rig.commit()
        before = set(os.listdir("/proc/self/fd"))
        rig.disk.refuse(errno.ENOSPC, suffix="jsonl", room=12)
        draft.add_entry(b'{"type":"x","data":2}')
        recorded = rig.end(draft, stops=True)
        assert recorded.audio == SPEECH
        assert recorded.entries("x") == [1]
        assert recorded.about["closeReason"] == "crash"
        assert len(before - set(os.listdir("/proc/self/fd"))) == 2
        assert (draft.waiting, rig.writer.fault) == (0, None)
        rig.commit(2)
        assert rig.clock.getDelayedCalls() == []

    def test_a_failing_close_still_ends_the_recording(self, rig: FaultyRig) -> None:
        draft = rig.begin()
        draft.audio(SPEECH)
        rig.disk.refuse(errno.EIO, "close")
        recorded = rig.end(draft)
        assert recorded.audio == SPEECH
        assert rig.counters.value("disk_errors", "EIO") == 1
        assert rig.writer.fault is None

    def test_a_disk_that_never_took_data_fails_the_end_at_the_stop(self, rig: FaultyRig) -> None:
        rig.disk.refuse(errno.EMFILE, "open")
        draft = rig.begin()
        draft.audio(SPEECH)
        finished = draft.finish({})
        rig.stop()
        with pytest.raises(OSError, match=r"a\.json"):
            result_of(finished)
        assert draft.waiting == 0

    def test_audio_added_during_a_commit_is_written(self, tmp_path: Path) -> None:
        rig = FaultyRig(tmp_path, CommitLimits(silence=100))
        draft = rig.begin()
        rig.disk.refuse(errno.ENOSPC)
        draft.audio(SPEECH)
        rig.commit()
        rig.disk.heal()
        raised_by(lambda: draft.audio(SPEECH))
        rig.clock.advance(FLUSH_INTERVAL)
        draft.audio(SPEECH[:40])
        finished = draft.finish({})
        rig.writing.run()
        rig.commit(4)
        assert result_of(finished).read_bytes().endswith(b"\xff" * 400 + SPEECH + SPEECH[:40])

    def test_a_failing_end_does_not_delay_the_stop(self, rig: FaultyRig) -> None:
        going_on, ending = rig.begin("a"), rig.begin("b")
        rig.commit()
        rig.disk.refuse(errno.ENOSPC)
        going_on.audio(SPEECH)
        ending.audio(SPEECH)
        finished = ending.finish({})
        flushed = rig.writer.flush()
        rig.writing.run()
        assert result_of(flushed) is None
        assert result_of(finished).name == "b.wav"
        assert rig.clock.getDelayedCalls() == []
