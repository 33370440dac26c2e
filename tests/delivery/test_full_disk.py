"""A completely full disk: stored recordings are still removed, since that frees space."""

import errno
import os
import resource
from pathlib import Path
from typing import Any

import pytest

from audiohookd.delivery.file_moves import FileOperations
from audiohookd.interfaces import IRecording, Undeliverable
from tests.delivery.delivery_rig import AUDIO, DAY, Carrier, NoSync, Notifier, Rig, logged, make_ready, recording_id

ID = recording_id(1)


class FullDisk(NoSync):
    """Has room for a small file only after audio was removed."""

    def __init__(self, code: int = errno.ENOSPC, is_block_freed: bool = True) -> None:
        self.code = code
        self.is_full = True
        self._is_block_freed = is_block_freed

    def create(self, path: Path, content: bytes, durable: bool) -> None:
        if self.is_full:
            path.touch()
            raise OSError(self.code, os.strerror(self.code), str(path))
        super().create(path, content, durable)

    def unlink(self, path: Path) -> None:
        if path.suffix == ".wav" and path.exists() and self._is_block_freed:
            self.is_full = False
        super().unlink(path)

    def free_bytes(self, directory: Path) -> int:
        return 0


def refuse(recording: IRecording) -> Any:
    raise Undeliverable("larger than 5 TiB")


class Store(Carrier):
    """A store that confirms a recording it has when there is no local audio any more."""

    def upload(self, recording: IRecording) -> Any:
        if recording.audio.exists():
            return super().upload(recording)
        assert self.store[recording.id]["wav"] == AUDIO
        return {"key": recording.id}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
class TestAStoredRecording:
    def test_needs_no_receipt_to_be_removed(self, tmp_path: Path, code: int) -> None:
        carrier = Carrier()
        rig = Rig(tmp_path, disk=FullDisk(code, is_block_freed=False), s3=carrier).start()
        with logged() as lines:
            rig.announce(1, 2)
        assert sorted(carrier.store) == [ID, recording_id(2)]
        assert rig.files() == set()
        assert rig.counted("recordings_stored") == 2
        assert lines == []

    def test_makes_room_for_the_receipt_that_notifiers_read(self, tmp_path: Path, code: int) -> None:
        seen: list[Any] = []
        hook = Notifier(act=lambda recording: seen.append(dict(recording.receipts())))
        rig = Rig(tmp_path, disk=FullDisk(code), s3=Carrier(), webhook=hook).start()
        with logged() as lines:
            rig.announce(1)
        assert [receipts["s3"]["key"] for receipts in seen] == [ID]
        assert rig.files() == set()
        assert lines == []


class TestARecordingThatIsNotStored:
    def test_keeps_its_files(self, tmp_path: Path) -> None:
        """Another carrier still has to store it, and no receipt could be written."""
        held = Carrier()
        held.act = held.hold
        rig = Rig(tmp_path, disk=FullDisk(), s3=Carrier(), tape=held).start()
        with logged() as lines:
            rig.announce(1)
            rig.pass_time(600)
        assert {f"{DAY}/1.wav", f"{DAY}/1.json"} <= rig.files()
        path = tmp_path / "ready" / DAY / f"{ID}.stored.s3.json.new"
        assert f"No space left on device ({path})" in lines[0]

    def test_keeps_its_files_after_a_rejection(self, tmp_path: Path) -> None:
        disk, last = FullDisk(), Carrier()
        last.act = last.hold
        disk.is_full = False
        rig = Rig(tmp_path, disk=disk, s3=last, archive=Carrier(act=refuse)).start()
        rig.announce(1)
        disk.is_full = True
        last.release(ID, {})
        rig.workers.run()
        assert {f"{DAY}/1.wav", f"{DAY}/1.json"} <= rig.files()

    def test_keeps_its_files_after_other_disk_errors(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, disk=FullDisk(errno.EIO), s3=Carrier()).start()
        rig.announce(1)
        assert {f"{DAY}/1.wav", f"{DAY}/1.json"} <= rig.files()


def test_a_receipt_that_has_no_room_even_then_comes_from_the_store(tmp_path: Path) -> None:
    disk, carrier, hook = FullDisk(is_block_freed=False), Store(), Notifier()
    rig = Rig(tmp_path, disk=disk, s3=carrier, webhook=hook).start()
    rig.announce(1)
    assert f"{DAY}/1.wav" not in rig.files()
    assert hook.asked == []
    disk.is_full = False
    after = Rig(tmp_path, disk=disk, s3=carrier, webhook=hook).start()
    assert hook.asked == [ID]
    assert after.files() == set()


def test_a_crash_between_the_audio_and_the_receipt_costs_one_look_into_the_store(tmp_path: Path) -> None:
    carrier, hook = Store(), Notifier()
    Rig(tmp_path, s3=carrier).start().announce(1)
    id_ = make_ready(tmp_path, 1)
    (tmp_path / "ready" / DAY / f"{id_}.wav").unlink()
    rig = Rig(tmp_path, s3=carrier, webhook=hook).start()
    assert (carrier.asked, hook.asked) == ([ID, ID], [ID])
    assert rig.files() == set()


class TestADeadLetter:
    def test_moves_without_its_reason_which_is_logged(self, tmp_path: Path) -> None:
        rig = Rig(tmp_path, disk=FullDisk(), s3=Carrier(act=refuse)).start()
        with logged() as lines:
            rig.announce(1)
        assert rig.files() == set()
        assert rig.files("dead") == {f"{DAY}/1.wav", f"{DAY}/1.json"}
        assert len(lines) == 1
        assert lines[0].endswith("moved to dead/: larger than 5 TiB")

    def test_waits_for_the_others_when_it_can_be_noted(self, tmp_path: Path) -> None:
        disk, picky, slow = FullDisk(), Carrier(act=refuse), Carrier()
        slow.act = slow.hold
        rig = Rig(tmp_path, disk=disk, archive=picky, s3=slow).start()
        rig.announce(1)
        assert f"{DAY}/1.wav" in rig.files()
        assert rig.counted("dead_letters", "archive") == 0
        disk.is_full = False
        rig.pass_time(10)
        assert rig.counted("dead_letters", "archive") == 1


def test_a_disk_error_names_the_file(tmp_path: Path) -> None:
    """Also when the error comes late, while the file is written."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, limits[1]))
    try:
        with pytest.raises(OSError, match=r"receipt\.new") as raised:
            FileOperations().create(tmp_path / "receipt.new", b"receipt", durable=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.errno == errno.EFBIG


class TestAFileThatIsInTheWay:
    """An operator put a file where a receipt is written before its rename."""

    def test_as_a_link_is_not_followed(self, tmp_path: Path) -> None:
        theirs = tmp_path / "theirs"
        theirs.write_bytes(b"precious")
        (tmp_path / "receipt.new").symlink_to(theirs)
        FileOperations().create(tmp_path / "receipt.new", b"receipt", durable=False)
        assert theirs.read_bytes() == b"precious"
        assert not (tmp_path / "receipt.new").is_symlink()
        assert (tmp_path / "receipt.new").read_bytes() == b"receipt"

    def test_as_a_second_name_is_not_written_into(self, tmp_path: Path) -> None:
        theirs = tmp_path / "theirs"
        theirs.write_bytes(b"precious")
        (tmp_path / "receipt.new").hardlink_to(theirs)
        FileOperations().create(tmp_path / "receipt.new", b"receipt", durable=True)
        assert theirs.read_bytes() == b"precious"

    def test_as_a_fifo_blocks_nothing(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "receipt.new")
        FileOperations().create(tmp_path / "receipt.new", b"receipt", durable=False)
        assert (tmp_path / "receipt.new").read_bytes() == b"receipt"

    def test_of_an_unfinished_one_is_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "receipt.new").write_bytes(b"half of a longer rec")
        FileOperations().create(tmp_path / "receipt.new", b"receipt", durable=True)
        assert (tmp_path / "receipt.new").read_bytes() == b"receipt"


class TestAReceiptThatCannotBeWritten:
    def test_is_retried_without_a_second_upload(self, tmp_path: Path) -> None:
        carrier = Carrier()
        carrier.act = carrier.hold
        rig = Rig(tmp_path, s3=carrier).start()
        (id_,) = rig.announce(1)
        # a directory in the place of the receipt
        receipt = rig.layout.ready / DAY / f"{id_}.stored.s3.json"
        unfinished = rig.layout.ready / DAY / f"{id_}.stored.s3.json.new"
        unfinished.mkdir()
        carrier.release(id_)
        rig.workers.run()
        assert not receipt.exists()
        assert f"{DAY}/1.wav" in rig.files()
        unfinished.rmdir()
        carrier.act = carrier.upload
        rig.pass_time(1)
        assert carrier.asked == [id_]
        assert rig.files() == set()
