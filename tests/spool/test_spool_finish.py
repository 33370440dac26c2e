"""Finishing recordings: from draft to ready."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import soundfile

from audiohookd.protocol.media import Media
from audiohookd.spool.finalize import finalize_draft
from audiohookd.spool.format import wav
from audiohookd.spool.write.draft_files import DraftPaths
from tests.spool.spool_rig import ALL_MEDIA, MONO, STEREO, SpoolRig, disk_that_takes, is_pending, result_of, shape

DAY = "2025-12-31"


@pytest.fixture
def rig(tmp_path: Path) -> SpoolRig:
    return SpoolRig(tmp_path / "spool")


class Disk:
    """Executes file operations and records them."""

    def __init__(self, directory: Path) -> None:
        self.diary: list[str] = []
        self.synced: dict[str, bytes] = {}
        self._directory = directory
        self._fsync, self._rename, self._unlink = os.fsync, os.rename, os.unlink

    def fsync(self, file: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{file}"))
        self._fsync(file)
        self._note("sync", path)
        if path.is_file():
            self.synced[str(path.relative_to(self._directory))] = path.read_bytes()

    def rename(self, source: Path, target: Path) -> None:
        self._rename(source, target)
        self._note("rename", source, target)

    def unlink(self, path: Path) -> None:
        self._unlink(path)
        self._note("unlink", path)

    def _note(self, verb: str, *paths: Path) -> None:
        self.diary.append(" ".join((verb, *(str(path.relative_to(self._directory)) for path in paths))))


def sidecar_of(rig: SpoolRig, name: str) -> dict[str, Any]:
    return json.loads((rig.directory / "ready" / DAY / f"{name}.json").read_bytes())


@pytest.mark.parametrize("media", ALL_MEDIA, ids=shape)
@pytest.mark.parametrize("samples", [0, 1, 1600])
def test_a_ready_recording_is_a_wav_of_all_audio(rig: SpoolRig, media: Media, samples: int) -> None:
    draft = rig.begin("a", media)
    draft.audio(media.silence(samples))
    path = rig.finish(draft)
    assert path == rig.directory / "ready" / DAY / "a.wav"
    assert soundfile.info(path).frames == samples
    assert not soundfile.read(path, dtype="int16")[0].any()


def test_files_go_to_the_day_on_which_it_started(rig: SpoolRig) -> None:
    rig.finish(rig.begin("a"))
    assert rig.ready() == {f"{DAY}/a.wav", f"{DAY}/a.json"}
    assert rig.drafted() == set()


def test_all_data_is_written_before_finishing(rig: SpoolRig) -> None:
    draft = rig.begin("a", MONO)
    draft.audio(b"\x01\x02\x03")
    rig.clock.advance(1)
    draft.audio(b"\x04\x05")
    finished = draft.finish({})
    rig.writing.run()
    assert len(rig.finishing) == 0
    rig.commit()
    assert len(rig.finishing) == 1
    rig.finishing.run()
    assert result_of(finished).read_bytes()[-6:] == b"\x01\x02\x03\x04\x05\0"


def test_the_sidecar_describes_the_file_on_disk(rig: SpoolRig) -> None:
    draft = rig.begin("a", MONO)
    draft.audio(b"\x01\x02\x03")
    whole = rig.finish(draft, closeReason="end").read_bytes()
    recording = sidecar_of(rig, "a")["recording"]
    assert recording["audio"] == {"file": "a.wav", "bytes": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}
    assert (recording["samples"], recording["duration"]) == (3, "PT0.000375S")
    assert recording["closeReason"] == "end"


def test_without_media_the_sidecar_is_the_recording(rig: SpoolRig) -> None:
    path = rig.finish(rig.begin("a", None), closeReason="end")
    assert path == rig.directory / "ready" / DAY / "a.json"
    assert rig.ready() == {f"{DAY}/a.json"}
    assert sidecar_of(rig, "a")["recording"]["audio"] is None


def test_a_finished_draft_rejects_data_and_keeps_its_own(rig: SpoolRig) -> None:
    draft = rig.begin("a")
    draft.audio(b"\x01\x02")
    finished = draft.finish({})
    with pytest.raises(ValueError, match="finished"):
        draft.audio(b"\x03\x04")
    with pytest.raises(ValueError, match="finished"):
        draft.add_entry(b"{}")
    with pytest.raises(ValueError, match="finished"):
        draft.finish({})
    rig.commit()
    rig.finishing.run()
    assert result_of(finished).read_bytes().endswith(b"\x01\x02")
    assert draft.waiting == 0


def test_a_failure_leaves_the_draft(rig: SpoolRig) -> None:
    draft = rig.begin("a")
    draft.audio(b"\x01\x02")
    (rig.directory / "ready" / DAY).write_bytes(b"a file where a directory should be")
    with pytest.raises(OSError, match=DAY):
        rig.finish(draft)
    assert {"a.wav", "a.jsonl"} <= rig.drafted()
    assert rig.drafted_audio("a") == b"\x01\x02"


def test_a_failed_finish_can_be_repeated_from_the_files(rig: SpoolRig) -> None:
    draft = rig.begin("a", MONO)
    draft.audio(b"\x01\x02\x03")
    (rig.directory / "ready" / DAY).write_bytes(b"")
    with pytest.raises(OSError, match=DAY):
        rig.finish(draft)
    (rig.directory / "ready" / DAY).unlink()
    path = finalize_draft(DraftPaths(rig.directory / "draft", "a"), rig.directory / "ready")
    assert soundfile.info(path).frames == 3
    assert rig.drafted() == set()


def test_a_growing_file_is_playable(rig: SpoolRig) -> None:
    rig.begin("a").audio(STEREO.silence(1600))
    rig.commit()
    assert soundfile.info(rig.draft_file("a.wav")).frames == 1600


def test_an_empty_recording_stays_empty_in_a_second_attempt(rig: SpoolRig) -> None:
    rig.begin("a", MONO)
    rig.commit()
    rig.draft_file("a.wav").write_bytes(wav.header(MONO, 0) + b"?")
    path = finalize_draft(DraftPaths(rig.directory / "draft", "a"), rig.directory / "ready")
    assert soundfile.info(path).frames == 0


def test_each_step_is_on_disk_before_the_next(rig: SpoolRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power loss would reveal a wrong order: files are complete before they move, and the sidecar moves last."""
    disk = Disk(rig.directory)
    draft = rig.begin("a", MONO)
    draft.audio(b"\x01\x02\x03")
    for call in ("fsync", "rename", "unlink"):
        monkeypatch.setattr(os, call, getattr(disk, call))
    path = rig.finish(draft)
    assert disk.diary == [
        "sync ready",
        "sync draft/a.wav",
        "sync draft/a.json.tmp",
        "rename draft/a.json.tmp draft/a.json",
        f"rename draft/a.wav ready/{DAY}/a.wav",
        "sync draft",
        f"sync ready/{DAY}",
        "unlink draft/a.jsonl",
        "sync draft",
        f"rename draft/a.json ready/{DAY}/a.json",
        f"sync ready/{DAY}",
    ]
    sidecar = path.with_suffix(".json").read_bytes()
    assert disk.synced == {"draft/a.wav": path.read_bytes(), "draft/a.json.tmp": sidecar}


def test_a_sidecar_is_ready_only_when_its_audio_is(rig: SpoolRig) -> None:
    draft = rig.begin("a")
    day = rig.directory / "ready" / DAY
    (day / "a.json").mkdir(parents=True)  # the last rename fails
    with pytest.raises(OSError, match=r"a\.json"):
        rig.finish(draft)
    assert (day / "a.wav").is_file()
    assert rig.drafted() == {"a.json"}


def test_a_full_finishing_pool_leaves_the_draft(rig: SpoolRig) -> None:
    busy = [rig.finishing.do(int) for _ in range(1000)]
    with pytest.raises(OSError, match="memory workers"):
        rig.finish(rig.begin("a"))
    assert rig.drafted() == {"a.wav", "a.jsonl"}
    assert len(busy) == 1000


def test_no_file_stays_open(rig: SpoolRig) -> None:
    before = len(os.listdir("/proc/self/fd"))
    drafts = [rig.begin(str(number)) for number in range(5)]
    rig.commit()
    assert len(os.listdir("/proc/self/fd")) == before + 10
    for draft in drafts:
        rig.finish(draft)
    rig.draft_file("b.wav").write_bytes(b"")
    rig.begin("b")
    rig.commit()
    refused = rig.begin("d")
    with disk_that_takes(10):
        refused.finish({}).addErrback(lambda _: None)
        for _ in range(4):
            rig.commit()
    rig.commit()
    rig.finishing.run()
    assert len(os.listdir("/proc/self/fd")) == before


class TestStop:
    def test_a_stop_writes_at_once_and_waits_for_finalizing(self, rig: SpoolRig) -> None:
        going_on, ending = rig.begin("a"), rig.begin("b")
        going_on.audio(b"\x01\x02")
        finished = ending.finish({})
        stopped = rig.spool.stopService()
        rig.writing.run()
        assert is_pending(stopped)
        rig.finishing.run()
        assert result_of(stopped) is None
        assert result_of(finished).name == "b.wav"
        assert rig.drafted_audio("a") == b"\x01\x02"
        assert rig.clock.getDelayedCalls() == []

    def test_a_stop_waits_for_a_running_commit_and_writes_newer_data(self, rig: SpoolRig) -> None:
        draft = rig.begin("a")
        rig.clock.advance(1)
        draft.audio(b"\x01\x02")
        stopped = rig.spool.stopService()
        rig.writing.run()
        assert result_of(stopped) is None
        assert rig.drafted_audio("a") == b"\x01\x02"

    def test_a_draft_that_cannot_be_finished_does_not_delay_a_stop(self, rig: SpoolRig) -> None:
        finished = rig.begin("a").finish({})
        (rig.directory / "ready" / DAY).write_bytes(b"")
        stopped = rig.spool.stopService()
        rig.writing.run()
        rig.finishing.run()
        assert result_of(stopped) is None
        with pytest.raises(OSError, match=DAY):
            result_of(finished)

    def test_an_idle_spool_stops_at_once(self, rig: SpoolRig) -> None:
        assert result_of(rig.spool.stopService()) is None


class TestPrepare:
    def test_prepare_can_be_repeated(self, rig: SpoolRig) -> None:
        rig.finish(rig.begin("a"))
        rig.spool.prepare()
        assert rig.ready() == {f"{DAY}/a.wav", f"{DAY}/a.json"}

    def test_a_file_in_place_of_a_directory_is_an_error(self, rig: SpoolRig) -> None:
        shutil.rmtree(rig.directory / "ready")
        (rig.directory / "ready").write_bytes(b"")
        with pytest.raises(FileExistsError, match="ready"):
            rig.spool.prepare()

    def test_a_directory_that_is_not_writable_is_an_error(self, rig: SpoolRig) -> None:
        shutil.rmtree(rig.directory / "draft")
        (rig.directory / "draft").symlink_to("/proc")
        with pytest.raises(OSError, match=r"/draft|/proc"):
            rig.spool.prepare()

    def test_draft_and_ready_must_be_on_one_file_system(self, rig: SpoolRig, tmp_path: Path) -> None:
        here = tmp_path.stat().st_dev
        elsewhere = next(path for path in map(Path, ("/dev/shm", "/var/tmp")) if path.stat().st_dev != here)  # noqa: S108
        shutil.rmtree(rig.directory / "ready")
        (rig.directory / "ready").symlink_to(elsewhere)
        with pytest.raises(OSError, match="cross-device"):
            rig.spool.prepare()
