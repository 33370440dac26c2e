"""What a crash left behind becomes a recording."""

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
    (mended,) = repair_drafts(spool)
    assert (mended.id, mended.outcome, mended.path) == (ID, "ready", spool.ready / DAY / f"{ID}.wav")
    assert mended.path.read_bytes() == wav.header(media, len(audio)) + audio
    assert chunks(mended.path.read_bytes())[-1] == (b"data", audio)
    assert soundfile.info(mended.path).frames == 10
    recording = sidecar(spool)["recording"]
    assert (recording["samples"], recording["closeReason"]) == (10, "crash")
    assert recording["recovered"] == {"missingFrom": 10, "journalCut": False}
    assert sidecar(spool)["body"] == [json.loads(NOTE)]
    assert names(spool.draft) == set()


@pytest.mark.parametrize("media", ALL_MEDIA, ids=shape)
def test_a_draft_that_an_earlier_version_had_nearly_finished_becomes_a_recording(
    spool: SpoolPaths, media: Media
) -> None:
    """It had written the sizes and a pad byte, but not the sidecar."""
    audio = bytes(range(1, 1 + 9 * media.frame_bytes))
    header = junk_first_header(media, len(audio))
    leave_behind(spool, audio + wav.padding(len(audio)), media=media, header=lambda _: header)
    (mended,) = repair_drafts(spool)
    assert mended.path.read_bytes() == wav.header(media, len(audio)) + audio + wav.padding(len(audio))
    assert sidecar(spool)["recording"]["samples"] == 9


def test_one_that_had_come_to_its_end_is_like_any_other(spool: SpoolPaths) -> None:
    leave_behind(spool, b"\x01\x02", NOTE + finished_line({"closeReason": "end"}) + b"\n")
    assert [mended.outcome for mended in repair_drafts(spool)] == ["ready"]
    recording = sidecar(spool)["recording"]
    assert recording["closeReason"] == "end"
    assert "recovered" not in recording


@pytest.mark.parametrize("rest", [1, 2, 3])
def test_samples_are_cut_to_whole_ones_of_all_channels(spool: SpoolPaths, rest: int) -> None:
    leave_behind(spool, b"\x01" * 40 + b"\x02" * rest, media=L16_STEREO)
    (mended,) = repair_drafts(spool)
    assert soundfile.info(mended.path).frames == 10
    assert b"\x02" not in mended.path.read_bytes()[wav.header_bytes(L16_STEREO) :]
    assert sidecar(spool)["recording"]["samples"] == 10


@pytest.mark.parametrize("torn", [NOTE[:-1], NOTE[:20], b"\0" * 300, finished_line({"closeReason": "end"})])
def test_a_torn_last_line_is_dropped(spool: SpoolPaths, torn: bytes) -> None:
    leave_behind(spool, b"\x01\x02", NOTE + torn)
    assert [mended.outcome for mended in repair_drafts(spool)] == ["ready"]
    assert sidecar(spool)["body"] == [json.loads(NOTE)]
    assert sidecar(spool)["recording"]["recovered"] == {"missingFrom": 1, "journalCut": True}


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_wherever_the_files_end_what_is_whole_is_kept(tmp_path: Path, data: st.DataObject) -> None:
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
    (mended,) = repair_drafts(spool)
    whole = max(0, audio_end - wav.header_bytes(STEREO)) // 2
    assert mended.path.read_bytes() == wav.header(STEREO, 2 * whole) + bytes(range(2 * whole))
    assert len(sidecar(spool)["body"]) == (journal_end - first) // len(NOTE)
    assert soundfile.info(mended.path).frames == whole == sidecar(spool)["recording"]["samples"]


def test_without_media_the_sidecar_is_the_recording(spool: SpoolPaths) -> None:
    leave_behind(spool, media=None)
    (mended,) = repair_drafts(spool)
    assert mended.path == spool.ready / DAY / f"{ID}.json"
    assert names(spool.directory) == {f"ready/{DAY}/{ID}.json"}


def test_audio_that_was_never_made_is_none(spool: SpoolPaths) -> None:
    leave_behind(spool).audio.unlink()
    (mended,) = repair_drafts(spool)
    assert soundfile.info(mended.path).frames == 0


class Interrupted(Exception):
    """kill -9."""


class TestInTheMiddle:
    """Of an earlier attempt: it goes on where that one ended."""

    STEPS = ("fsync", "rename", "unlink", "ftruncate", "pwrite")

    def interrupt(self, monkeypatch: pytest.MonkeyPatch, at: int) -> Callable[[], int]:
        """Call ``at`` of those that change the disk does not happen, nor any after it. Returns their number."""
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
    def test_wherever_it_ended_the_recording_is_whole_and_there_once(
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
                # What is in ready with a sidecar may be carried away, and be deleted, at any time.
                assert [mended.outcome for mended in repair_drafts(spool)] == ["ready"], at
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
    def test_nothing_can_be_computed_with_what_it_says(self, spool: SpoolPaths, facts: bytes) -> None:
        leave_behind(spool).journal.write_bytes(facts % ID.encode() + b"\n")
        leave_behind(spool, name=OTHER)
        assert {mended.id: mended.outcome for mended in repair_drafts(spool)} == {ID: "broken", OTHER: "ready"}

    @pytest.mark.parametrize("sidecar", [b"", b"{}", b'{"header":{"timestamp":"../../../etc/x"}}'])
    def test_a_sidecar_alone_that_is_none(self, spool: SpoolPaths, sidecar: bytes) -> None:
        paths = leave_behind(spool)
        paths.journal.unlink()
        paths.sidecar.write_bytes(sidecar)
        assert [mended.outcome for mended in repair_drafts(spool)] == ["broken"]
        assert (spool.broken / f"{ID}.json").read_bytes() == sidecar
        assert names(spool.ready) == set()

    @pytest.mark.parametrize("journal", [b"", b"{", b"no facts\n", b'{"id":5}\n', b"\0" * 100, NOTE])
    def test_is_put_aside_with_a_reason(self, spool: SpoolPaths, journal: bytes) -> None:
        paths = leave_behind(spool, b"\x01\x02")
        paths.journal.write_bytes(journal)
        audio = paths.audio.read_bytes()
        (mended,) = repair_drafts(spool)
        assert (mended.outcome, mended.path) == ("broken", None)
        assert names(spool.broken) == {f"{ID}.jsonl", f"{ID}.wav", f"{ID}.reason.txt"}
        assert (spool.broken / f"{ID}.wav").read_bytes() == audio
        assert (spool.broken / f"{ID}.jsonl").read_bytes() == journal
        assert (spool.broken / f"{ID}.reason.txt").read_text() == f"{mended.reason}\n"
        assert "journal" in mended.reason
        assert names(spool.draft) == set()

    def test_audio_without_a_journal(self, spool: SpoolPaths) -> None:
        leave_behind(spool, b"\x01\x02").journal.unlink()
        assert [mended.outcome for mended in repair_drafts(spool)] == ["broken"]
        assert names(spool.broken) == {f"{ID}.wav", f"{ID}.reason.txt"}

    def test_does_not_keep_others_from_being_repaired(self, spool: SpoolPaths) -> None:
        leave_behind(spool, b"\x01").journal.write_bytes(b"")
        leave_behind(spool, name=OTHER)
        assert {mended.id: mended.outcome for mended in repair_drafts(spool)} == {ID: "broken", OTHER: "ready"}

    def test_the_reason_is_on_the_disk_before_anything_is_moved(
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
        assert [mended.outcome for mended in repair_drafts(spool)] == ["broken"]
        first_move = done.index(("move", f"{spool.broken}/{ID}.wav"))
        for path in (spool.broken / f"{ID}.reason.txt", spool.broken, spool.directory):
            assert ("sync", str(path)) in done[:first_move]
        assert ("sync", str(spool.broken)) in done[first_move:]


class TestWhatIsNotOurs:
    STRANGE = ("notes.txt", "old.wav", f"{ID}.mp3", f"{ID}", ".hidden.json", f"{ID[:-1]}.jsonl", f"{ID[:-1]}X.wav")

    def test_stays_as_it_is(self, spool: SpoolPaths) -> None:
        for name in self.STRANGE:
            (spool.draft / name).write_bytes(b"mine")
        (spool.draft / f"{OTHER}.jsonl").mkdir()
        os.mkfifo(spool.draft / f"{OTHER}.wav")  # to open it would take for ever
        (spool.draft / f"{OTHER}.json").symlink_to(spool.draft / "notes.txt")
        assert list(repair_drafts(spool)) == []
        assert names(spool.directory) == {f"draft/{name}" for name in (*self.STRANGE, f"{OTHER}.json")}

    def test_a_draft_with_something_else_beside_it_is_not_touched(self, spool: SpoolPaths) -> None:
        leave_behind(spool).audio.unlink()
        os.mkfifo(spool.draft / f"{ID}.wav")
        leave_behind(spool, name=OTHER)
        assert [mended.id for mended in repair_drafts(spool)] == [OTHER]
        assert (spool.draft / f"{ID}.jsonl").exists()

    def test_nor_is_a_draft_in_somebody_s_care(self, spool: SpoolPaths) -> None:
        leave_behind(spool)
        assert list(repair_drafts(spool, live={ID})) == []
        assert names(spool.draft) == {f"{ID}.jsonl", f"{ID}.wav"}


def test_what_the_disk_refuses_stays_to_be_tried_again(spool: SpoolPaths) -> None:
    leave_behind(spool, b"\x01\x02")
    (spool.ready / DAY).write_bytes(b"in the way")
    (mended,) = repair_drafts(spool)
    assert mended.outcome == "failed"
    assert DAY in mended.reason
    assert {f"{ID}.jsonl", f"{ID}.wav"} <= names(spool.draft)
    (spool.ready / DAY).unlink()
    assert [mended.outcome for mended in repair_drafts(spool)] == ["ready"]


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

    def test_whoever_waits_for_recordings_hears_of_them(self, tmp_path: Path) -> None:
        rig = self.rig(tmp_path)
        heard: list[Path] = []
        rig.spool.add_ready_observer(heard.append)
        path = rig.finish(rig.begin(ID))
        assert heard == [path]

    def test_drafts_of_live_calls_are_left_alone(self, tmp_path: Path) -> None:
        rig = self.rig(tmp_path)
        draft = rig.begin(ID, MONO)
        draft.audio(b"\x01")
        rig.commit()
        rig.spool._repairer.start()
        rig.finishing.run()
        assert rig.ready() == set()
        draft.audio(b"\x02")
        assert rig.finish(draft).read_bytes().endswith(b"\x01\x02")

    def test_what_could_not_be_finished_is_tried_again_after_a_minute(self, tmp_path: Path) -> None:
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

    def test_and_again_and_again(self, tmp_path: Path) -> None:
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

    def test_is_one_line_a_round_however_many_there_are(self, tmp_path: Path) -> None:
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

    def test_a_stop_waits_for_the_one_that_is_at_it_and_no_longer(self, tmp_path: Path) -> None:
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
