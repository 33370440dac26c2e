"""``audiohookctl spool export``: complete copies only."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from audiohookd.cli.progress import Progress
from audiohookd.cli.spool.export import _export, copy_recording
from audiohookd.cli.spool.lookup import Found, State, audio_of, recordings
from audiohookd.spool import catalog
from tests.cli.kept_spool import DAY, ENVIRONMENT, KeptSpool, audiohookctl, id_of, of_all_states, python
from tests.spool.spool_rig import disk_that_takes


@pytest.fixture
def spool(tmp_path: Path) -> KeptSpool:
    return of_all_states(tmp_path / "spool")


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "copies"


def copied(destination: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(destination)): path.read_bytes()
        for path in sorted(destination.rglob("*"))
        if path.is_file()
    }


class TestCopies:
    def test_named_recordings_are_copied(self, spool: KeptSpool, destination: Path) -> None:
        said = spool.ctl("export", id_of(2), id_of(6)[:8], destination)
        assert (said.code, said.err) == (0, "")
        assert said.lines == [f"2 recordings exported to {destination}"]
        files = spool.files()
        assert copied(destination) == {
            f"{DAY}/{id_of(number)}.{suffix}": files[f"{state}/{DAY}/{id_of(number)}.{suffix}"]
            for number, state in ((2, "ready"), (6, "done"))
            for suffix in ("json", "wav")
        }

    def test_all_finished_recordings_are_copied(self, spool: KeptSpool, destination: Path) -> None:
        before = spool.files()
        said = spool.ctl("export", "--all", destination)
        assert said.lines == [
            f"6 recordings exported to {destination}, 1 of them without audio, which was uploaded and deleted here"
        ]
        assert {name.rpartition("/")[2][:8] for name in copied(destination)} == {
            id_of(number)[:8] for number in (2, 3, 4, 5, 6, 8)
        }
        assert spool.files() == before
        assert audiohookctl("verify", destination).code == 0

    def test_recordings_since_a_day_are_copied(self, tmp_path: Path, destination: Path) -> None:
        spool = KeptSpool(tmp_path / "spool")
        for number in range(3):
            spool.ready(number, days=number)
        assert spool.ctl("export", "--since", "2026-02-01", destination).code == 0
        assert sorted(path.name for path in destination.iterdir()) == ["2026-02-01", "2026-02-02"]

    def test_uploaded_audio_is_replaced_by_its_receipt(self, spool: KeptSpool, destination: Path) -> None:
        assert spool.ctl("export", id_of(4), destination).code == 0
        assert list(copied(destination)) == [f"{DAY}/{id_of(4)}.json", f"{DAY}/{id_of(4)}.stored.store.json"]

    def test_a_second_export_copies_nothing(self, spool: KeptSpool, destination: Path) -> None:
        assert spool.ctl("export", "--all", destination).code == 0
        times = {path: path.stat().st_mtime_ns for path in destination.rglob("*") if path.is_file()}
        said = spool.ctl("export", "--all", destination)
        assert (said.code, said.lines) == (0, [f"0 recordings exported to {destination}, 6 exported before"])
        assert {path: path.stat().st_mtime_ns for path in times} == times


class TestRefusals:
    def test_a_different_file_is_not_overwritten(self, spool: KeptSpool, destination: Path) -> None:
        (destination / DAY).mkdir(parents=True)
        (destination / DAY / f"{id_of(2)}.wav").write_text("precious")
        said = spool.ctl("export", "--all", destination)
        assert said.code == 1
        assert f"{id_of(2)}.wav exists with other content: not overwritten" in said.err
        assert (destination / DAY / f"{id_of(2)}.wav").read_text() == "precious"
        assert f"{DAY}/{id_of(2)}.json" not in copied(destination)
        assert said.lines[0].endswith(", 1 failed")
        assert f"{DAY}/{id_of(3)}.json" in copied(destination)

    def test_audio_with_another_checksum_is_rejected(self, spool: KeptSpool, destination: Path) -> None:
        path = spool.layout.ready / DAY / f"{id_of(2)}.wav"
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        said = spool.ctl("export", id_of(2), destination)
        assert said.code == 1
        assert f"{id_of(2)}: the audio does not match the SHA-256 in the sidecar" in said.err
        assert copied(destination) == {}

    def test_missing_audio_is_an_error(self, spool: KeptSpool, destination: Path) -> None:
        (spool.layout.ready / DAY / f"{id_of(2)}.wav").unlink()
        said = spool.ctl("export", id_of(2), destination)
        assert said.code == 1
        assert f"{id_of(2)}: the audio is missing" in said.err
        assert copied(destination) == {}

    def test_a_malformed_sidecar_is_an_error(self, spool: KeptSpool, destination: Path) -> None:
        (spool.layout.ready / DAY / f"{id_of(2)}.json").write_text("{}")
        said = spool.ctl("export", id_of(2), destination)
        assert said.code == 1
        assert "the sidecar cannot be read" in said.err

    def test_a_draft_is_not_exported(self, spool: KeptSpool, destination: Path) -> None:
        assert spool.ctl("export", id_of(1), destination).code == 2

    @pytest.mark.parametrize("arguments", [(), ("--all", "--since", "2026-01-01"), ("--all", "00000002")])
    def test_exactly_one_selection_is_required(
        self, spool: KeptSpool, destination: Path, arguments: tuple[str, ...]
    ) -> None:
        said = spool.ctl("export", *arguments, destination)
        assert (said.code, said.err) == (
            2,
            "audiohookctl: spool export: give ids, --all or --since DAY, then the directory to copy to\n",
        )

    def test_a_full_disk_ends_the_export_and_leaves_no_partial_file(
        self, spool: KeptSpool, destination: Path
    ) -> None:
        with disk_that_takes(8000):
            said = spool.ctl("export", id_of(2), destination)
        assert said.code == 2
        assert said.err.startswith(f"audiohookctl: spool: {destination}/{DAY}/.{id_of(2)}.wav.")
        assert said.err.endswith(": File too large\n")
        assert list((destination / DAY).iterdir()) == []


class TestBesideADaemon:
    """A daemon moves or deletes a recording between the search and the copy."""

    def find(self, spool: KeptSpool, number: int) -> Found:
        (found,) = [entry for entry in recordings(spool.layout, (State.READY,)) if entry.files.id == id_of(number)]
        return found

    def export(self, spool: KeptSpool, found: Found, destination: Path) -> str:
        with Progress("exported") as progress:
            return _export(spool.layout, found, destination, progress)

    def test_a_moved_recording_is_exported(self, spool: KeptSpool, destination: Path) -> None:
        found = self.find(spool, 2)
        spool.settle(id_of(2))
        assert self.export(spool, found, destination) == "copied"
        assert len(copied(destination)) == 2

    def test_a_recording_in_motion_is_exported(self, spool: KeptSpool, destination: Path) -> None:
        found = self.find(spool, 2)
        spool.settle(id_of(2))
        (spool.layout.done / DAY / f"{id_of(2)}.wav").rename(spool.layout.ready / DAY / f"{id_of(2)}.wav")
        assert self.export(spool, found, destination) == "copied"
        assert len(copied(destination)) == 2

    def test_a_deleted_recording_counts_as_gone(self, spool: KeptSpool, destination: Path) -> None:
        found = self.find(spool, 2)
        for path in (spool.layout.ready / DAY).glob(f"{id_of(2)}.*"):
            path.unlink()
        assert self.export(spool, found, destination) == "gone"

    def test_a_recording_uploaded_in_between_is_exported_with_its_receipt(
        self, spool: KeptSpool, destination: Path
    ) -> None:
        found = self.find(spool, 2)
        spool.carried_away(id_of(2))
        assert self.export(spool, found, destination) == "alone"

    def test_audio_deleted_during_the_copy_is_copied(self, spool: KeptSpool, destination: Path) -> None:
        """An open file stays readable after it is deleted."""
        found = self.find(spool, 2)
        audio = audio_of(spool.layout, found.files)
        outcome = copy_recording(
            found.files, audio, destination / DAY, lambda _: found.files.audio.unlink(missing_ok=True)
        )
        assert outcome == "copied"
        assert audiohookctl("verify", destination).code == 0
        assert catalog.stat_recording(found.files.directory, found.files.id, ("wav",)).suffixes == frozenset()


def test_an_interruption_leaves_no_half_file(spool: KeptSpool, destination: Path) -> None:
    audio = spool.layout.ready / DAY / f"{id_of(2)}.wav"
    audio.unlink()
    os.mkfifo(audio)
    command = python(
        "-m", "audiohookd.cli.main", "spool", "export", "--spool", str(spool.directory), id_of(2), str(destination)
    )
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT) as process:
        with audio.open("wb", buffering=0) as pipe:
            pipe.write(bytes(200_000))  # more than a pipe holds: it has begun
            assert [path.name[:9] for path in (destination / DAY).iterdir()] == [f".{id_of(2)[:8]}"]
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"")
    assert list((destination / DAY).iterdir()) == []
