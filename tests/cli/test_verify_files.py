"""``audiohookctl verify`` for files: the recordings it finds, its output and its exit codes."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from audiohookd.cli.verify.files import Files, find
from audiohookd.protocol.duration import samples_to_duration
from audiohookd.spool.format import wav
from tests.cli.kept_spool import DAY, ENVIRONMENT, KeptSpool, Said, audiohookctl, id_of, of_all_states, python
from tests.spool.spool_rig import MONO


def verify(*arguments: object) -> Said:
    return audiohookctl("verify", *arguments)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A directory with two recordings."""
    spool = KeptSpool(tmp_path / "spool")
    spool.ready(1)
    spool.ready(2)
    spool.stop()
    return (spool.layout.ready / DAY).rename(tmp_path / "shop")


def test_correct_recordings_are_ok(shop: Path) -> None:
    said = verify(shop)
    assert (said.code, said.err) == (0, "")
    assert said.lines == [
        f"{shop}/{id_of(1)}: ok",
        f"{shop}/{id_of(2)}: ok",
        "2 recordings: 2 ok, 0 wrong; 31.4 KiB of audio read",
    ]


def test_an_error_gives_exit_code_one(shop: Path) -> None:
    audio = shop / f"{id_of(1)}.wav"
    audio.write_bytes(audio.read_bytes()[:-100])
    said = verify(shop)
    assert said.code == 1
    assert "the audio has 15994 bytes, the sidecar says 16094; the audio's SHA-256 is " in said.lines[0]
    assert said.lines[1:] == [f"{shop}/{id_of(2)}: ok", "2 recordings: 1 ok, 1 wrong; 31.3 KiB of audio read"]


def test_quiet_prints_only_errors(shop: Path) -> None:
    (shop / f"{id_of(1)}.wav").unlink()
    assert verify("--quiet", shop).lines == [
        f"{shop}/{id_of(1)}: there is no audio",
        "2 recordings: 1 ok, 1 wrong; 15.7 KiB of audio read",
    ]


def test_json_has_one_object_per_line(shop: Path) -> None:
    (shop / f"{id_of(1)}.wav").unlink()
    said = verify("--json", shop)
    assert said.code == 1
    assert said.json() == [
        {"recording": f"{shop}/{id_of(1)}", "id": id_of(1), "ok": False, "faults": ["there is no audio"]},
        {"recording": f"{shop}/{id_of(2)}", "id": id_of(2), "ok": True, "faults": []},
        {"summary": {"checked": 2, "ok": 1, "wrong": 1, "elsewhere": 0, "moving": 0, "bytes": 16_094}},
    ]


def test_quick_does_not_read_the_audio(shop: Path) -> None:
    audio = shop / f"{id_of(1)}.wav"
    content = bytearray(audio.read_bytes())
    content[5000] ^= 1
    audio.write_bytes(content)
    assert verify("--quick", shop).lines[-1] == "2 recordings: 2 ok, 0 wrong"
    assert verify(shop).code == 1
    content[5] ^= 1
    audio.write_bytes(content)
    assert "the WAV header says that the file has" in verify("--quick", shop).lines[0]


@pytest.mark.parametrize("suffix", ["wav", "json"])
def test_a_single_file_names_its_recording(shop: Path, suffix: str) -> None:
    target = shop / f"{id_of(2)}.{suffix}"
    assert verify(target).lines == [f"{shop}/{id_of(2)}: ok", "1 recording: 1 ok, 0 wrong; 15.7 KiB of audio read"]


def test_halves_are_reported(shop: Path) -> None:
    (shop / f"{id_of(1)}.json").unlink()
    (shop / f"{id_of(2)}.wav").unlink()
    assert verify("--quiet", shop).lines[:2] == [
        f"{shop}/{id_of(1)}: there is no sidecar",
        f"{shop}/{id_of(2)}: there is no audio",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "the sidecar is not JSON"),
        (b'{"header":"\xff"}', "the sidecar is not JSON"),
        (b"[]", "the sidecar is not a JSON object"),
        (b"[" * 100_000, "the sidecar is not JSON"),
        (b"{}", 'the sidecar has no "recording", which describes the audio: audiohookd did not write it'),
        (b'{"header":{},"body":[{},5],"recording":{}}', "body: entry 1 is not an object"),
        (b'{"body":[{}', "the sidecar is not JSON: the JSON text is truncated"),
        (
            b'{"recording":{"gaps":[' + b"{}," * 10_000 + b"{}]}}",
            "recording.gaps has 10,001 elements, but only 10,000",
        ),
        (b'{"recording":{"session":"' + b"y" * (4 << 20) + b'"}}', "the sidecar cannot be checked: a value has more"),
        (b'{"recording": {}}', "header is missing; body is missing; recording.startedAt is missing"),
    ],
)
def test_a_malformed_sidecar_is_reported(shop: Path, text: bytes, said: str) -> None:
    (shop / f"{id_of(1)}.json").write_bytes(text)
    result = verify(shop)
    assert result.code == 1
    assert said in result.lines[0]


def test_an_unreadable_recording_is_wrong_and_the_rest_is_checked(shop: Path) -> None:
    audio = shop / f"{id_of(1)}.wav"
    audio.unlink()
    audio.mkdir()
    said = verify(shop)
    assert said.code == 1
    assert said.lines[0] == f"{shop}/{id_of(1)}: cannot be read: Is a directory"
    assert said.lines[1].endswith(": ok")


def test_text_of_others_does_not_move_the_cursor(shop: Path) -> None:
    sidecar = json.loads((shop / f"{id_of(1)}.json").read_text())
    sidecar["recording"]["duration"] = "\x1b[2J\n"
    (shop / f"{id_of(1)}.json").write_text(json.dumps(sidecar))
    said = verify(shop)
    assert "recording.duration is \\u001b[2J\\n, but" in said.lines[0]


def test_directories_are_searched_recursively(shop: Path) -> None:
    (shop / "b" / "c").mkdir(parents=True)
    (shop / ".hidden.wav").write_bytes(b"being copied")
    (shop / "notes.txt").write_text("not a recording")
    for path in shop.glob(f"{id_of(2)}.*"):
        path.rename(shop / "b" / "c" / path.name)
    assert [files.where for files in find(shop)] == [f"{shop}/{id_of(1)}", f"{shop}/b/c/{id_of(2)}"]


def test_several_targets_are_summed_up(shop: Path) -> None:
    assert len(verify(shop, shop / f"{id_of(1)}.wav").lines) == 4


class TestASpool:
    def test_only_finished_recordings_are_checked(self, tmp_path: Path) -> None:
        of_all_states(tmp_path).stop()
        said = verify(tmp_path)
        assert said.code == 0
        assert {line.partition(": ")[0].removeprefix(f"{tmp_path}/") for line in said.lines[:-1]} == {
            f"dead/{DAY}/{id_of(5)}",
            f"done/{DAY}/{id_of(6)}",
            *(f"ready/{DAY}/{id_of(n)}" for n in (2, 3, 4, 8)),
        }
        assert said.lines[-1].startswith("6 recordings: 6 ok, 0 wrong, 1 with the audio stored elsewhere;")

    def test_uploaded_audio_may_be_missing(self, tmp_path: Path) -> None:
        spool = KeptSpool(tmp_path)
        for number in (1, 2):
            spool.carried_away(spool.ready(number))
        (spool.layout.ready / DAY / f"{id_of(2)}.stored.store.json").unlink()
        first, second, _ = verify(tmp_path).lines
        assert first.endswith(f"{id_of(1)}: ok (the audio is stored elsewhere)")
        assert second.endswith(f"{id_of(2)}: there is no audio")

    def test_audio_uploaded_during_the_check_may_be_missing(self, tmp_path: Path) -> None:
        spool = KeptSpool(tmp_path)
        for number in (1, 2):
            spool.ready(number)
        found = find(tmp_path)
        next(found)
        spool.carried_away(id_of(2))
        assert next(found).is_stored()

    def test_a_sidecar_of_uploaded_audio_is_checked(self, tmp_path: Path) -> None:
        spool = KeptSpool(tmp_path)
        spool.carried_away(spool.ready(1))
        path = spool.layout.ready / DAY / f"{id_of(1)}.json"
        path.write_text(path.read_text().replace('"samples":8000', '"samples":8001'))
        assert verify(tmp_path).code == 1

    def test_a_recording_being_finished_is_not_an_error(self, tmp_path: Path) -> None:
        """The audio is in ready/ before its sidecar."""
        spool = KeptSpool(tmp_path)
        (spool.layout.ready / DAY / f"{spool.ready(1)}.json").rename(spool.layout.draft / f"{id_of(1)}.json")
        said = verify(tmp_path)
        assert (said.code, said.lines) == (0, ["0 recordings: 0 ok, 0 wrong, 1 being moved and not checked"])

    def test_a_recording_being_moved_is_not_an_error(self, tmp_path: Path) -> None:
        """The sidecar is in done/ before its audio."""
        spool = KeptSpool(tmp_path)
        spool.settle(spool.ready(1))
        (spool.layout.done / DAY / f"{id_of(1)}.wav").rename(spool.layout.ready / DAY / f"{id_of(1)}.wav")
        said = verify(tmp_path)
        assert (said.code, said.lines) == (0, ["0 recordings: 0 ok, 0 wrong, 2 being moved and not checked"])

    def test_a_recording_deleted_during_the_check_is_not_an_error(self, tmp_path: Path) -> None:
        assert Files(tmp_path, id_of(1), has_receipt=False).is_moving()

    def test_drafts_outside_a_spool_are_skipped(self, tmp_path: Path) -> None:
        of_all_states(tmp_path).stop()
        assert list(find(tmp_path / "draft")) == []


class TestMistakes:
    @pytest.mark.parametrize("name", ["absent.wav", "notes.txt"])
    def test_mistakes_are_one_line(self, shop: Path, name: str) -> None:
        (shop / "notes.txt").write_text("not a recording")
        said = verify(shop / name)
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith("audiohookctl: verify: ")
        assert said.err.count("\n") == 1

    def test_a_target_is_required(self) -> None:
        assert verify().code == 2


def large(directory: Path, megabytes: int) -> int:
    """Makes a sparse recording of ``megabytes``, nearly none of which is on disk. Returns its size in bytes."""
    data_bytes = megabytes << 20
    audio = directory / f"{id_of(1)}.wav"
    with audio.open("wb") as file:
        file.write(wav.header(MONO, data_bytes))
        file.truncate(file.tell() + data_bytes)
    with audio.open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    sidecar: dict[str, Any] = json.loads((directory / f"{id_of(2)}.json").read_text())
    sidecar["recording"] |= {
        "media": {"format": "PCMU", "channels": ["external"], "rate": 8000},
        "samples": data_bytes,
        "duration": samples_to_duration(data_bytes, 8000),
        "audio": {"file": audio.name, "bytes": audio.stat().st_size, "sha256": digest},
    }
    (directory / f"{id_of(1)}.json").write_text(json.dumps(sidecar))
    return audio.stat().st_size


def test_memory_does_not_grow_with_the_file(shop: Path) -> None:
    size = large(shop, 100)
    tracemalloc.start()
    try:
        said = verify(shop)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert said.code == 0
    assert said.lines[-1].startswith("2 recordings: 2 ok")
    assert peak < 8 << 20 < size


def test_an_interruption_ends_without_a_traceback(shop: Path) -> None:
    """Interrupts the read of a file without an end: a pipe."""
    audio = shop / f"{id_of(1)}.wav"
    content = audio.read_bytes()
    audio.unlink()
    os.mkfifo(audio)
    command = python("-m", "audiohookd.cli.main", "verify", str(shop))
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
        with audio.open("wb", buffering=0) as pipe:
            pipe.write(content + bytes(200_000))  # more than a pipe holds: it has begun
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_a_closed_pipe_ends_the_command(shop: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = python("-m", "audiohookd.cli.main", "verify", str(shop))
    process = subprocess.run(command, stderr=subprocess.PIPE, stdout=writing, env=ENVIRONMENT, check=False)
    os.close(writing)
    assert (process.returncode, process.stderr) == (141, b"")


def test_relative_targets_are_accepted(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    assert verify(f"{id_of(1)}.wav").lines[0] == f"{id_of(1)}: ok"
    assert verify(".").lines[0] == f"{id_of(1)}: ok"


def test_a_renamed_copy_is_checked(shop: Path) -> None:
    """A bucket may have such names, from the key template of the s3 plugin."""
    for suffix in ("wav", "json"):
        shutil.copy(shop / f"{id_of(1)}.{suffix}", shop / f"call-7.{suffix}")
    assert verify(shop / "call-7.json").lines[0] == f"{shop}/call-7: ok"
