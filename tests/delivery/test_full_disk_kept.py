"""A completely full disk with kept local copies: the oldest stored recordings are evicted."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from audiohookd.delivery.file_moves import NO_ROOM
from audiohookd.interfaces import IRecording, Unavailable
from tests.delivery.delivery_rig import (
    AUDIO,
    DAY,
    YESTERDAY,
    Carrier,
    NoSync,
    Notifier,
    Rig,
    logged,
    make_ready,
    recording_id,
)


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


def make_done(spool: Path, number: int, day: str, age: float, *receipts: str) -> str:
    """A recording that was stored ``age`` seconds ago, with these ``receipts``."""
    id_ = make_ready(spool, number, day)
    done = spool / "done" / day
    done.mkdir(parents=True, exist_ok=True)
    for path in (spool / "ready" / day).glob(f"{id_}.*"):
        path.rename(done / path.name)
    for name in receipts:
        receipt = done / f"{id_}.stored.{name}.json"
        receipt.write_text('{"at": "2026-01-01T00:00:00.000Z"}')
        os.utime(receipt, (1e9 - age, 1e9 - age))
    return id_


def whole(day: str, number: int, *more: str) -> set[str]:
    return {f"{day}/{number}.{suffix}" for suffix in ("wav", "json", *more)}


def unavailable(recording: IRecording) -> Any:
    raise Unavailable("no route")


@pytest.mark.parametrize("code", sorted(NO_ROOM))
def test_the_recording_stored_first_is_evicted(tmp_path: Path, code: int) -> None:
    for number, day, age in ((1, DAY, 900), (2, YESTERDAY, 10), (3, YESTERDAY, 20)):
        make_done(tmp_path, number, day, age, "s3")
    disk = SmallDisk(code=code)
    rig = Rig(tmp_path, keeps_local=True, disk=disk, s3=Carrier()).start()
    with logged() as lines:
        rig.announce(4)
    expected = [whole(day, number, "stored.s3.json") for day, number in ((DAY, 1), (YESTERDAY, 2), (DAY, 4))]
    assert rig.files("done") == set().union(*expected)
    assert disk.removed == [f"{recording_id(3)}.{suffix}" for suffix in ("wav", "json", "stored.s3.json")]
    assert rig.counted("recordings_stored") == 1
    assert rig.counted("recordings_removed", "evicted") == 1
    recording = f"recording {recording_id(3)} of {YESTERDAY}"
    assert lines == [f"warn: disk full: evicted the local copy of {recording}, already stored remotely"]


def test_deliveries_drain_by_evicting_the_audio_just_stored(tmp_path: Path) -> None:
    carrier = Carrier()
    rig = Rig(tmp_path, keeps_local=True, disk=SmallDisk(), s3=carrier).start()
    ids = rig.announce(*range(20))
    assert rig.counted("recordings_stored") == 20
    assert sorted(carrier.store) == ids
    assert all(set(files) == {"wav", "json"} for files in carrier.store.values())
    assert rig.files() == set()
    done = rig.files("done")
    assert {name for name in done if name.endswith(".stored.s3.json")} == {
        f"{DAY}/{number}.stored.s3.json" for number in range(20) if f"{DAY}/{number}.json" in done
    }
    assert len(done) <= 20 * 2


def test_as_many_are_evicted_as_the_receipt_needs(tmp_path: Path) -> None:
    class Blocks(SmallDisk):
        """The space freed first is taken by other writers."""

        def unlink(self, path: Path) -> None:
            super().unlink(path)
            if len(self.removed) < 3 * 3:
                self.free = 0

    for number in range(1, 6):
        make_done(tmp_path, number, DAY, 100 - number, "s3")
    rig = Rig(tmp_path, keeps_local=True, disk=Blocks(), s3=Carrier()).start()
    rig.announce(9)
    expected = [whole(DAY, number, "stored.s3.json") for number in (4, 5, 9)]
    assert rig.files("done") == set().union(*expected)


class TestNeverEvicts:
    def test_recordings_that_are_not_confirmed(self, tmp_path: Path) -> None:
        """Unstored and waiting recordings, dead letters, and recordings that lack a carrier's receipt stay."""
        make_done(tmp_path, 1, YESTERDAY, 900)
        dead = tmp_path / "dead" / DAY
        dead.mkdir(parents=True)
        (dead / f"{recording_id(2)}.wav").write_bytes(AUDIO)
        for number in (3, 4):
            make_ready(tmp_path, number)
        tape = Carrier(act=unavailable)
        disk = SmallDisk()
        rig = Rig(tmp_path, keeps_local=True, disk=disk, s3=Carrier(), tape=tape).start()
        rig.pass_time(300)
        assert disk.removed == []
        assert rig.files("done") == whole(YESTERDAY, 1)
        assert rig.files() == whole(DAY, 3) | whole(DAY, 4)

    def test_recordings_that_a_new_carrier_does_not_have(self, tmp_path: Path) -> None:
        make_done(tmp_path, 1, YESTERDAY, 900, "s3")
        disk = SmallDisk()
        rig = Rig(tmp_path, keeps_local=True, disk=disk, s3=Carrier(), tape=Carrier()).start()
        rig.announce(2)
        assert disk.removed == []
        assert rig.files("done") == whole(YESTERDAY, 1, "stored.s3.json")

    def test_the_only_copy_of_a_recording(self, tmp_path: Path) -> None:
        make_done(tmp_path, 1, YESTERDAY, 900, "s3")
        disk = SmallDisk()
        rig = Rig(tmp_path, keeps_local=True, disk=disk, webhook=Notifier()).start()
        rig.announce(2)
        assert disk.removed == [], "without the carrier, the copies may be wanted"
        assert whole(DAY, 2) <= rig.files()

    def test_anything_after_another_disk_error(self, tmp_path: Path) -> None:
        make_done(tmp_path, 1, YESTERDAY, 900, "s3")
        disk = SmallDisk(code=errno.EIO)
        rig = Rig(tmp_path, keeps_local=True, disk=disk, s3=Carrier()).start()
        rig.announce(2)
        assert disk.removed == []

    def test_anything_while_there_is_space(self, tmp_path: Path) -> None:
        make_done(tmp_path, 1, YESTERDAY, 900, "s3")
        disk = SmallDisk(free=100)
        rig = Rig(tmp_path, keeps_local=True, disk=disk, s3=Carrier(), webhook=Notifier()).start()
        rig.announce(2, 3)
        assert disk.removed == []
        assert rig.counted("notifications_sent", "webhook") == 2


def test_two_carriers_do_not_wait_for_each_others_receipt(tmp_path: Path) -> None:
    make_done(tmp_path, 1, YESTERDAY, 900, "s3", "tape")
    rig = Rig(tmp_path, keeps_local=True, disk=SmallDisk(), s3=Carrier(), tape=Carrier()).start()
    rig.announce(2)
    assert rig.files() == set()
    assert rig.files("done") == whole(DAY, 2, "stored.s3.json", "stored.tape.json")


def test_notifications_are_sent_too(tmp_path: Path) -> None:
    """Notifiers need the receipt and their own mark; evicting the audio frees space for both."""
    seen: list[Any] = []

    class Roomy(SmallDisk):
        def unlink(self, path: Path) -> None:
            self.free += path.exists() and path.suffix == ".wav"
            super().unlink(path)

    hook = Notifier(act=lambda recording: seen.append(dict(recording.receipts())["s3"]["key"]))
    rig = Rig(tmp_path, keeps_local=True, disk=Roomy(), s3=Carrier(), webhook=hook).start()
    (id_,) = rig.announce(1)
    assert seen == [id_]
    ends = ("json", "stored.s3.json", "told.webhook.json")
    assert rig.files("done") == {f"{DAY}/1.{end}" for end in ends}
    receipt = json.loads((tmp_path / "done" / DAY / f"{id_}.stored.s3.json").read_text())
    assert receipt["key"] == id_
