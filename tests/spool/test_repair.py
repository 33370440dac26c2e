"""Repair of drafts that a crash left behind."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.logger import LogLevel, capturedLogs, formatEvent

from audiohookd.protocol.media import Media
from audiohookd.spool.finalize import finalize_draft
from audiohookd.spool.format import wav
from audiohookd.spool.format.journal import finished_line, first_line, journal_header
from audiohookd.spool.paths import SpoolPaths
from audiohookd.spool.repair import repair_drafts
from audiohookd.spool.write.draft_files import DraftPaths
from tests.spool.left_behind import (
    DAY,
    ID,
    NOTE,
    OTHER,
    empty_spool,
    leave_behind,
    names,
    of_earlier_version,
    sidecar,
)
from tests.spool.riff_layout import chunks, junk_first_header
from tests.spool.spool_rig import ALL_MEDIA, L16_STEREO, MONO, STARTED_AT, STEREO, SpoolRig, shape


@pytest.fixture
def spool(tmp_path: Path) -> SpoolPaths:
    return empty_spool(tmp_path)


HEADERS = pytest.mark.parametrize("header", [wav.growing_header, of_earlier_version])


@HEADERS
@pytest.mark.parametrize("media", ALL_MEDIA, ids=shape)
def test_a_draft_becomes_a_recording(spool: SpoolPaths, media: Media, header: Callable[[Media], bytes]) -> None:
    audio = bytes(range(1, 1 + 10 * media.frame_bytes))
    leave_behind(spool, audio, media=media, header=header)
    (result,) = repair_drafts(spool)
    assert (result.id, result.outcome, result.path) == (ID, "ready", spool.ready / DAY / f"{ID}.wav")
    assert result.path.read_bytes() == wav.header(media, len(audio)) + audio
    assert chunks(result.path.read_bytes())[-1] == (b"data", audio)
    assert soundfile.info(result.path).frames == 10
    recording = sidecar(spool)["recording"]
    assert (recording["samples"], recording["closeReason"]) == (10, "crash")
    assert recording["recovered"] == {"missingFrom": 10, "journalCut": False}
    assert sidecar(spool)["body"] == [json.loads(NOTE)]
    assert names(spool.draft) == set()


@pytest.mark.parametrize("media", ALL_MEDIA, ids=shape)
def test_a_draft_nearly_finished_by_an_earlier_version_becomes_a_recording(spool: SpoolPaths, media: Media) -> None:
    """The earlier version had written the sizes and a pad byte, but not the sidecar."""
    audio = bytes(range(1, 1 + 9 * media.frame_bytes))
    header = junk_first_header(media, len(audio))
    leave_behind(spool, audio + wav.padding(len(audio)), media=media, header=lambda _: header)
    (result,) = repair_drafts(spool)
    assert result.path.read_bytes() == wav.header(media, len(audio)) + audio + wav.padding(len(audio))
    assert sidecar(spool)["recording"]["samples"] == 9


def test_a_draft_with_its_last_line_is_not_marked_recovered(spool: SpoolPaths) -> None:
    leave_behind(spool, b"\x01\x02", NOTE + finished_line({"closeReason": "end"}) + b"\n")
    assert [result.outcome for result in repair_drafts(spool)] == ["ready"]
    recording = sidecar(spool)["recording"]
    assert recording["closeReason"] == "end"
    assert "recovered" not in recording


@pytest.mark.parametrize("rest", [1, 2, 3])
def test_audio_is_cut_to_whole_samples_of_all_channels(spool: SpoolPaths, rest: int) -> None:
    leave_behind(spool, b"\x01" * 40 + b"\x02" * rest, media=L16_STEREO)
    (result,) = repair_drafts(spool)
    assert soundfile.info(result.path).frames == 10
    assert b"\x02" not in result.path.read_bytes()[wav.header_bytes(L16_STEREO) :]
    assert sidecar(spool)["recording"]["samples"] == 10


@pytest.mark.parametrize("torn", [NOTE[:-1], NOTE[:20], b"\0" * 300, finished_line({"closeReason": "end"})])
def test_a_torn_last_line_is_dropped(spool: SpoolPaths, torn: bytes) -> None:
    leave_behind(spool, b"\x01\x02", NOTE + torn)
    assert [result.outcome for result in repair_drafts(spool)] == ["ready"]
    assert sidecar(spool)["body"] == [json.loads(NOTE)]
    assert sidecar(spool)["recording"]["recovered"] == {"missingFrom": 1, "journalCut": True}


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_complete_lines_and_samples_are_kept_wherever_the_files_end(tmp_path: Path, data: st.DataObject) -> None:
    spool = SpoolPaths(tmp_path)
    shutil.rmtree(tmp_path)
    spool.draft.mkdir(parents=True)
    spool.ready.mkdir()
    paths = leave_behind(spool, bytes(range(100)), NOTE * 5, media=STEREO)
    first = len(first_line(journal_header(ID, STARTED_AT, STEREO)))
    journal_end = data.draw(st.integers(first, paths.journal.stat().st_size), "end of the journal")
    audio_end = data.draw(st.integers(0, paths.audio.stat().st_size), "end of the audio")
    os.truncate(paths.journal, journal_end)
    os.truncate(paths.audio, audio_end)
    (result,) = repair_drafts(spool)
    whole = max(0, audio_end - wav.header_bytes(STEREO)) // 2
    assert result.path.read_bytes() == wav.header(STEREO, 2 * whole) + bytes(range(2 * whole))
    assert len(sidecar(spool)["body"]) == (journal_end - first) // len(NOTE)
    assert soundfile.info(result.path).frames == whole == sidecar(spool)["recording"]["samples"]


def test_without_media_the_sidecar_is_the_recording(spool: SpoolPaths) -> None:
    leave_behind(spool, media=None)
    (result,) = repair_drafts(spool)
    assert result.path == spool.ready / DAY / f"{ID}.json"
    assert names(spool.directory) == {f"ready/{DAY}/{ID}.json"}


def test_a_missing_audio_file_is_empty_audio(spool: SpoolPaths) -> None:
    leave_behind(spool).audio.unlink()
    (result,) = repair_drafts(spool)
    assert soundfile.info(result.path).frames == 0


class Interrupted(Exception):
    """Simulates a kill -9."""


class TestInterruptedAttempt:
    """A repair after an earlier attempt was interrupted."""

    STEPS = ("fsync", "rename", "unlink", "ftruncate", "pwrite")

    def interrupt(self, monkeypatch: pytest.MonkeyPatch, at: int) -> Callable[[], int]:
        """Makes system call ``at`` of all that change the disk fail, and all later ones.

        :returns: a function that returns the number of these calls so far.
        """
        count = 0

        def instead(real: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **options: object) -> object:
                nonlocal count
                count += 1
                if count >= at:
                    raise Interrupted
                return real(*arguments, **options)

            return call

        for step in self.STEPS:
            monkeypatch.setattr(os, step, instead(getattr(os, step)))
        return lambda: count

    @HEADERS
    @pytest.mark.parametrize("finished", [True, False])
    def test_a_second_attempt_completes_the_recording_once(
        self,
        spool: SpoolPaths,
        monkeypatch: pytest.MonkeyPatch,
        finished: bool,
        header: Callable[[Media], bytes],
    ) -> None:
        end = finished_line({"closeReason": "end"}) + b"\n" if finished else b'{"torn'
        leave_behind(spool, b"\x01\x02\x03\x04\x05", NOTE + end, media=STEREO, header=header)
        with monkeypatch.context() as patch:
            steps = self.interrupt(patch, 10**9)
            before = {path.name: path.read_bytes() for path in spool.draft.iterdir()}
            finalize_draft(DraftPaths(spool.draft, ID), spool.ready)
            total = steps()
        wanted = {str(path.name): path.read_bytes() for path in (spool.ready / DAY).iterdir()}
        assert total > 10
        for at in range(1, total + 1):
            shutil.rmtree(spool.ready / DAY)
            for name, content in before.items():
                (spool.draft / name).write_bytes(content)
            with monkeypatch.context() as patch:
                self.interrupt(patch, at)
                with pytest.raises(Interrupted):
                    finalize_draft(DraftPaths(spool.draft, ID), spool.ready)
            if not (spool.ready / DAY / f"{ID}.json").exists():
                # A recording in ready with a sidecar may be uploaded and deleted at any time.
                assert [result.outcome for result in repair_drafts(spool)] == ["ready"], at
            assert names(spool.draft) == set(), at
            assert {path.name: path.read_bytes() for path in (spool.ready / DAY).iterdir()} == wanted, at


class TestBroken:
    @pytest.mark.parametrize(
        "facts",
        [
            b'{"id":"%b","startedAt":1e300,"media":null}',
            b'{"id":"%b","startedAt":-1,"media":null}',
            b'{"id":"%b","startedAt":1,"media":{"format":"PCMU","channels":[],"rate":8000}}',
            b'{"id":"%b","startedAt":1,"media":{"format":"PCMU","channels":["external"],"rate":0}}',
        ],
    )
    def test_impossible_facts_are_broken(self, spool: SpoolPaths, facts: bytes) -> None:
        leave_behind(spool).journal.write_bytes(facts % ID.encode() + b"\n")
        leave_behind(spool, name=OTHER)
        assert {result.id: result.outcome for result in repair_drafts(spool)} == {ID: "broken", OTHER: "ready"}

    @pytest.mark.parametrize("sidecar", [b"", b"{}", b'{"header":{"timestamp":"../../../etc/x"}}'])
    def test_an_invalid_sidecar_without_a_journal_is_broken(self, spool: SpoolPaths, sidecar: bytes) -> None:
        paths = leave_behind(spool)
        paths.journal.unlink()
        paths.sidecar.write_bytes(sidecar)
        assert [result.outcome for result in repair_drafts(spool)] == ["broken"]
        assert (spool.broken / f"{ID}.json").read_bytes() == sidecar
        assert names(spool.ready) == set()

    @pytest.mark.parametrize("journal", [b"", b"{", b"no facts\n", b'{"id":5}\n', b"\0" * 100, NOTE])
    def test_a_broken_draft_is_moved_with_a_reason(self, spool: SpoolPaths, journal: bytes) -> None:
        paths = leave_behind(spool, b"\x01\x02")
        paths.journal.write_bytes(journal)
        audio = paths.audio.read_bytes()
        (result,) = repair_drafts(spool)
        assert (result.outcome, result.path) == ("broken", None)
        assert names(spool.broken) == {f"{ID}.jsonl", f"{ID}.wav", f"{ID}.reason.txt"}
        assert (spool.broken / f"{ID}.wav").read_bytes() == audio
        assert (spool.broken / f"{ID}.jsonl").read_bytes() == journal
        assert (spool.broken / f"{ID}.reason.txt").read_text() == f"{result.reason}\n"
        assert "journal" in result.reason
        assert names(spool.draft) == set()

    def test_audio_without_a_journal_is_broken(self, spool: SpoolPaths) -> None:
        leave_behind(spool, b"\x01\x02").journal.unlink()
        assert [result.outcome for result in repair_drafts(spool)] == ["broken"]
        assert names(spool.broken) == {f"{ID}.wav", f"{ID}.reason.txt"}

    def test_a_broken_draft_does_not_stop_the_repair_of_others(self, spool: SpoolPaths) -> None:
        leave_behind(spool, b"\x01").journal.write_bytes(b"")
        leave_behind(spool, name=OTHER)
        assert {result.id: result.outcome for result in repair_drafts(spool)} == {ID: "broken", OTHER: "ready"}

    def test_the_reason_is_synced_before_files_are_moved(
        self, spool: SpoolPaths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        leave_behind(spool, b"\x01").journal.unlink()
        done: list[tuple[str, str]] = []
        fsync, rename = os.fsync, os.rename

        def synced(file: int) -> None:
            done.append(("sync", os.readlink(f"/proc/self/fd/{file}")))
            fsync(file)

        def moved(old: Path, new: Path) -> None:
            done.append(("move", str(new)))
            rename(old, new)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "rename", moved)
        assert [result.outcome for result in repair_drafts(spool)] == ["broken"]
        first_move = done.index(("move", f"{spool.broken}/{ID}.wav"))
        for path in (spool.broken / f"{ID}.reason.txt", spool.broken, spool.directory):
            assert ("sync", str(path)) in done[:first_move]
        assert ("sync", str(spool.broken)) in done[first_move:]


class TestForeignFiles:
    STRANGE = ("notes.txt", "old.wav", f"{ID}.mp3", f"{ID}", ".hidden.json", f"{ID[:-1]}.jsonl", f"{ID[:-1]}X.wav")

    def test_a_foreign_file_is_not_touched(self, spool: SpoolPaths) -> None:
        for name in self.STRANGE:
            (spool.draft / name).write_bytes(b"mine")
        (spool.draft / f"{OTHER}.jsonl").mkdir()
        os.mkfifo(spool.draft / f"{OTHER}.wav")  # opening it would block for ever
        (spool.draft / f"{OTHER}.json").symlink_to(spool.draft / "notes.txt")
        assert list(repair_drafts(spool)) == []
        assert names(spool.directory) == {f"draft/{name}" for name in (*self.STRANGE, f"{OTHER}.json")}

    def test_a_draft_with_a_foreign_file_is_not_touched(self, spool: SpoolPaths) -> None:
        leave_behind(spool).audio.unlink()
        os.mkfifo(spool.draft / f"{ID}.wav")
        leave_behind(spool, name=OTHER)
        assert [result.id for result in repair_drafts(spool)] == [OTHER]
        assert (spool.draft / f"{ID}.jsonl").exists()

    def test_a_draft_in_use_is_not_touched(self, spool: SpoolPaths) -> None:
        leave_behind(spool)
        assert list(repair_drafts(spool, live={ID})) == []
        assert names(spool.draft) == {f"{ID}.jsonl", f"{ID}.wav"}


def test_a_draft_stays_for_a_retry_after_a_disk_error(spool: SpoolPaths) -> None:
    leave_behind(spool, b"\x01\x02")
    (spool.ready / DAY).write_bytes(b"in the way")
    (result,) = repair_drafts(spool)
    assert result.outcome == "failed"
    assert DAY in result.reason
    assert {f"{ID}.jsonl", f"{ID}.wav"} <= names(spool.draft)
    (spool.ready / DAY).unlink()
    assert [result.outcome for result in repair_drafts(spool)] == ["ready"]


class TestWhileTheDaemonRuns:
    def rig(self, tmp_path: Path, *left_behind: str) -> SpoolRig:
        spool = SpoolPaths(tmp_path / "spool")
        spool.draft.mkdir(parents=True)
        for name in left_behind:
            leave_behind(spool, b"\x01\x02", media=MONO, name=name)
        return SpoolRig(spool.directory)

    def test_drafts_are_repaired_at_start(self, tmp_path: Path) -> None:
        rig = self.rig(tmp_path, ID, OTHER)
        assert rig.ready() == {f"{DAY}/{name}.{suffix}" for name in (ID, OTHER) for suffix in ("wav", "json")}
        assert rig.counters.value("drafts_recovered", "ready") == 2

    def test_on_ready_is_called_for_repaired_recordings(self, tmp_path: Path) -> None:
        rig = self.rig(tmp_path)
        heard: list[Path] = []
        rig.spool.add_ready_observer(heard.append)
        path = rig.finish(rig.begin(ID))
        assert heard == [path]

    def test_drafts_of_live_calls_are_skipped(self, tmp_path: Path) -> None:
        rig = self.rig(tmp_path)
        draft = rig.begin(ID, MONO)
        draft.audio(b"\x01")
        rig.commit()
        rig.spool._repairer.start()
        rig.finishing.run()
        assert rig.ready() == set()
        draft.audio(b"\x02")
        assert rig.finish(draft).read_bytes().endswith(b"\x01\x02")

    def test_a_failed_repair_is_retried_after_a_minute(self, tmp_path: Path) -> None:
        rig = self.rig(tmp_path)
        draft = rig.begin(ID, MONO)
        (rig.directory / "ready" / DAY).write_bytes(b"in the way")
        with pytest.raises(OSError, match=DAY):
            rig.finish(draft, closeReason="end")
        (rig.directory / "ready" / DAY).unlink()
        rig.clock.advance(59)
        assert len(rig.finishing) == 0
        rig.clock.advance(1)
        rig.finishing.run()
        assert rig.ready() == {f"{DAY}/{ID}.wav", f"{DAY}/{ID}.json"}
        recording = json.loads((rig.directory / "ready" / DAY / f"{ID}.json").read_bytes())["recording"]
        assert recording["closeReason"] == "end"
        assert "recovered" not in recording

    def test_a_failed_repair_is_retried_every_minute(self, tmp_path: Path) -> None:
        rig = self.rig(tmp_path)
        (rig.directory / "ready" / DAY).write_bytes(b"in the way")
        with pytest.raises(OSError, match=DAY):
            rig.finish(rig.begin(ID, MONO))
        for _ in range(3):
            rig.clock.advance(60)
            rig.finishing.run()
        assert rig.counters.value("drafts_recovered", "failed") == 3
        (rig.directory / "ready" / DAY).unlink()
        rig.clock.advance(60)
        rig.finishing.run()
        assert rig.counters.value("drafts_recovered", "ready") == 1
        assert rig.clock.getDelayedCalls() == []

    def test_a_round_logs_one_line_for_all_drafts(self, tmp_path: Path) -> None:
        rig = self.rig(tmp_path)
        (rig.directory / "ready" / DAY).write_bytes(b"in the way")
        for number in range(20):
            leave_behind(SpoolPaths(rig.directory), name=f"{number:08}{ID[8:]}")
        with capturedLogs() as logged:
            rig.spool._repairer.start()
            rig.finishing.run()
        (said,) = (event for event in logged if event["log_level"] is LogLevel.warn)
        assert "20 drafts" in formatEvent(said)
        assert DAY in formatEvent(said)

    def test_a_stop_waits_only_for_the_current_draft(self, tmp_path: Path) -> None:
        spool = SpoolPaths(tmp_path / "spool")
        rig = self.rig(tmp_path)
        for name in (ID, OTHER):
            leave_behind(spool, media=MONO, name=name)
        rig.spool._repairer.start()
        stopped = rig.spool.stopService()
        assert not stopped.called
        rig.finishing.run()
        rig.writing.run()
        assert stopped.called
        assert len(rig.ready()) == 2
        assert rig.clock.getDelayedCalls() == []
