"""A completely full disk: the reserve, receipts without room, and recordings that are kept locally."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from audiohookd.delivery.file_moves import NO_ROOM
from audiohookd.delivery.receipts import MIN_FREE_FOR_RESERVE, RESERVE_SIZE
from audiohookd.interfaces import IRecording, Unavailable, Undeliverable
from tests.delivery.delivery_rig import DAY, LIMIT, Carrier, NoSync, Notifier, Rig, logged


class SmallDisk(NoSync):
    """Each file takes one unit of space, of which ``free`` are left. A rename needs none."""

    def __init__(self, free: int = 0, code: int = errno.ENOSPC) -> None:
        self.free = free
        self.code = code
        self.removed: list[str] = []

    def create(self, path: Path, content: bytes, durable: bool) -> None:
        if not path.exists() and not self.free:
            raise OSError(self.code, os.strerror(self.code), str(path))
        self.free -= not path.exists()
        super().create(path, content, durable)

    def unlink(self, path: Path) -> None:
        if path.exists():
            self.free += 1
            self.removed.append(path.name)
        super().unlink(path)

    def free_bytes(self, directory: Path) -> int:
        return self.free * MIN_FREE_FOR_RESERVE


def whole(day: str, number: int, *more: str) -> set[str]:
    return {f"{day}/{number}.{suffix}" for suffix in ("wav", "json", *more)}


def reject(recording: IRecording) -> Any:
    raise Undeliverable("larger than 5 TiB")


def unavailable(recording: IRecording) -> Any:
    raise Unavailable("no route")


@pytest.mark.parametrize("code", sorted(NO_ROOM))
class TestTheReserve:
    def test_is_removed_to_make_room_for_a_receipt(self, tmp_path: Path, code: int) -> None:
        disk = SmallDisk(free=1, code=code)
        rig = Rig(tmp_path, keeps_local=True, disk=disk, s3=Carrier()).start()
        assert rig.layout.reserve.stat().st_size == RESERVE_SIZE
        with logged() as lines:
            rig.announce(1)
        assert rig.files("done") == whole(DAY, 1, "stored.s3.json")
        assert not rig.layout.reserve.exists()
        assert lines == []

    def test_is_removed_to_make_room_for_a_rejection(self, tmp_path: Path, code: int) -> None:
        tape = Carrier(act=unavailable)
        rig = Rig(tmp_path, disk=SmallDisk(free=1, code=code), s3=Carrier(act=reject), tape=tape).start()
        rig.announce(1)
        assert rig.files() == whole(DAY, 1, "refused.s3.json")

    def test_is_created_again_when_there_is_room(self, tmp_path: Path, code: int) -> None:
        disk = SmallDisk(free=1, code=code)
        rig = Rig(tmp_path, keeps_local=True, disk=disk, s3=Carrier()).start()
        rig.announce(1)
        disk.free = 2
        rig.announce(2)
        assert rig.layout.reserve.exists()


def test_the_reserve_takes_no_room_that_calls_may_need(tmp_path: Path) -> None:
    class NearlyFull(NoSync):
        def free_bytes(self, directory: Path) -> int:
            return MIN_FREE_FOR_RESERVE - 1

    rig = Rig(tmp_path, disk=NearlyFull(), s3=Carrier()).start()
    rig.announce(1)
    assert not rig.layout.reserve.exists()


def test_a_reserve_that_fits_only_in_part_is_removed(tmp_path: Path) -> None:
    class Quota(NoSync):
        def create(self, path: Path, content: bytes, durable: bool) -> None:
            super().create(path, content[:4096], durable)
            if len(content) > 4096:
                raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), str(path))

    rig = Rig(tmp_path, keeps_local=True, disk=Quota(), s3=Carrier()).start()
    assert not rig.layout.reserve.exists()
    rig.announce(1)
    assert rig.files("done") == whole(DAY, 1, "stored.s3.json")


def test_a_recording_without_room_for_its_receipt_is_evicted(tmp_path: Path) -> None:
    carrier = Carrier()
    rig = Rig(tmp_path, keeps_local=True, disk=SmallDisk(), s3=carrier).start()
    with logged() as lines:
        (id_,) = rig.announce(1)
    assert (rig.files(), rig.files("done")) == (set(), set())
    assert list(carrier.store) == carrier.asked == [id_]
    assert rig.counted("recordings_stored") == rig.counted("recordings_removed", "evicted") == 1
    assert lines == [f"warn: disk full: evicted the local copy of recording {id_} of {DAY}, already stored remotely"]


def test_the_audio_makes_room_for_the_receipt_that_notifiers_read(tmp_path: Path) -> None:
    seen: list[Any] = []
    hook = Notifier(act=lambda recording: seen.append(recording.receipts()["s3"]["key"]))
    rig = Rig(tmp_path, keeps_local=True, disk=SmallDisk(), s3=Carrier(), webhook=hook).start()
    (id_,) = rig.announce(1)
    assert seen == [id_]
    assert rig.files() == set()
    assert rig.counted("recordings_removed", "evicted") == 2, "the audio for the receipt, the rest for the mark"


class TestAReceiptWithoutRoom:
    """One carrier has stored the recording, another has not, so nothing may be removed."""

    def test_waits_for_room_without_a_second_upload(self, tmp_path: Path) -> None:
        disk, s3, tape = SmallDisk(), Carrier(), Carrier(act=unavailable)
        rig = Rig(tmp_path, disk=disk, s3=s3, tape=tape).start()
        with logged() as lines:
            rig.announce(1)
            rig.pass_time(600)
        assert rig.files() == whole(DAY, 1)
        assert any("No space left on device" in line for line in lines)
        disk.free = 1
        rig.pass_time(LIMIT)
        assert rig.files() == whole(DAY, 1, "stored.s3.json")
        assert len(s3.asked) == 1

    def test_is_forgotten_when_the_recording_is_no_longer_due(self, tmp_path: Path) -> None:
        s3 = Carrier()
        rig = Rig(tmp_path, disk=SmallDisk(), s3=s3, tape=Carrier(act=unavailable)).start()
        (id_,) = rig.announce(1)
        for suffix in ("wav", "json"):
            (tmp_path / "ready" / DAY / f"{id_}.{suffix}").unlink()
        rig.pass_time(LIMIT)
        rig.announce(1)
        assert len(s3.asked) == 2


class TestNeverEvicts:
    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
    def test_recordings_that_are_not_confirmed(self, tmp_path: Path, code: int) -> None:
        disk = SmallDisk(code=code)
        rig = Rig(tmp_path, keeps_local=True, disk=disk, s3=Carrier(), tape=Carrier(act=unavailable)).start()
        rig.announce(3, 4)
        rig.pass_time(300)
        assert disk.removed == []
        assert rig.files() == whole(DAY, 3) | whole(DAY, 4)

    def test_a_recording_that_another_carrier_has_rejected(self, tmp_path: Path) -> None:
        disk, s3 = SmallDisk(free=1), Carrier()
        s3.act = s3.hold
        rig = Rig(tmp_path, disk=disk, s3=s3, tape=Carrier(act=reject)).start()
        (id_,) = rig.announce(1)
        s3.release(id_)
        rig.pass_time(300)
        assert whole(DAY, 1) <= rig.files() | rig.files("dead")

    def test_the_only_copy_of_a_recording(self, tmp_path: Path) -> None:
        disk = SmallDisk()
        rig = Rig(tmp_path, keeps_local=True, disk=disk, webhook=Notifier()).start()
        rig.announce(2)
        assert disk.removed == [], "without a carrier, the spool has the only copy"
        assert whole(DAY, 2) <= rig.files()

    def test_anything_after_another_disk_error(self, tmp_path: Path) -> None:
        disk = SmallDisk(code=errno.EIO)
        rig = Rig(tmp_path, keeps_local=True, disk=disk, s3=Carrier()).start()
        rig.announce(2)
        assert disk.removed == []
        assert rig.files() == whole(DAY, 2)
