"""Which recordings are evicted next, in days with very many recordings."""

import os
from pathlib import Path

import pytest

from audiohookd.delivery.eviction import KNOWN, EvictionCandidates
from tests.delivery.delivery_rig import DAY, YESTERDAY, make_ready, short

S3, TAPE = "stored.s3.json", "stored.tape.json"


class Done:
    """The directory ``done``, and the eviction candidates in it."""

    def __init__(self, spool: Path, *receipts: str) -> None:
        self.spool = spool
        self.displaceable = EvictionCandidates(spool / "done", frozenset(receipts))

    def put(self, number: int, age: float, *receipts: str, day: str = DAY) -> None:
        """Puts a recording there that was stored ``age`` seconds ago."""
        id_ = make_ready(self.spool, number, day)
        done = self.spool / "done" / day
        done.mkdir(parents=True, exist_ok=True)
        for path in (self.spool / "ready" / day).glob(f"{id_}.*"):
            path.rename(done / path.name)
        for receipt in receipts:
            self.confirm(done / f"{id_}.{receipt}", age)

    def confirm(self, receipt: Path, age: float = 0.0) -> None:
        receipt.write_text("{}")
        os.utime(receipt, (1e9 - age, 1e9 - age))

    def next(self) -> str | None:
        """Evicts the next candidate."""
        recording = self.displaceable.next()
        if recording is None:
            return None
        for suffix in recording.suffixes:
            recording.path(suffix).unlink()
        return short(f"{recording.day}/{recording.id}.json").removesuffix(".json")


@pytest.fixture
def done(tmp_path: Path) -> Done:
    return Done(tmp_path, S3)


def test_the_oldest_day_comes_first_then_the_recording_stored_first(done: Done) -> None:
    done.put(1, 900, S3)
    for number, age in ((2, 10), (3, 30), (4, 20)):
        done.put(number, age, S3, day=YESTERDAY)
    order = [done.next() for _ in range(5)]
    assert order == [f"{YESTERDAY}/3", f"{YESTERDAY}/4", f"{YESTERDAY}/2", f"{DAY}/1", None]


def test_known_candidates_are_used_before_the_day_is_scanned_again(done: Done) -> None:
    for number in (1, 2):
        done.put(number, 100 - number, S3)
    assert done.next() == f"{DAY}/1"
    done.put(3, 900, S3, day=YESTERDAY)
    assert done.next() == f"{DAY}/2"
    assert done.next() == f"{YESTERDAY}/3"


def test_no_more_candidates_are_kept_than_the_limit(done: Done) -> None:
    for number in range(KNOWN + 2):
        done.put(number, 9_000 - number, S3)
    assert [done.next() for _ in range(KNOWN)] == [f"{DAY}/{number}" for number in range(KNOWN)]
    done.put(KNOWN + 7, 9_000, S3, day=YESTERDAY)
    assert done.next() == f"{YESTERDAY}/{KNOWN + 7}"


@pytest.mark.parametrize("suffix", ["json", S3])
def test_a_candidate_that_has_vanished_is_skipped(done: Done, suffix: str) -> None:
    """Retention removed it first, or an operator moved it."""
    for number in (1, 2, 3):
        done.put(number, 100 - number, S3)
    assert done.next() == f"{DAY}/1"
    for path in (done.spool / "done" / DAY).glob(f"*[23]-*.{suffix}"):
        path.unlink()
    done.put(4, 1, S3)
    assert done.next() == f"{DAY}/4"
    assert done.next() is None


class TestADayWithoutCandidates:
    def test_scans_it_again_when_its_directory_changed(self, done: Done) -> None:
        done.put(1, 10)
        assert done.next() is None
        done.put(2, 10, S3)
        assert done.next() == f"{DAY}/2"

    def test_does_not_scan_it_sooner(self, done: Done) -> None:
        done.put(1, 10)
        day = done.spool / "done" / DAY
        before = day.stat()
        assert done.next() is None
        (receipt,) = (path.with_suffix("." + S3) for path in day.glob("*.json"))
        done.confirm(receipt)
        os.utime(day, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert done.next() is None, "it looks as it did"
        os.utime(day, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        assert done.next() == f"{DAY}/1"

    def test_does_not_hide_others(self, done: Done) -> None:
        done.put(1, 10, day=YESTERDAY)
        done.put(2, 10, S3)
        assert [done.next(), done.next()] == [f"{DAY}/2", None]


def test_all_carriers_must_have_stored_a_candidate(tmp_path: Path) -> None:
    done = Done(tmp_path, S3, TAPE)
    done.put(1, 900, S3)
    done.put(2, 800, TAPE)
    done.put(3, 700, "stored.old.json", S3, TAPE)
    assert [done.next(), done.next()] == [f"{DAY}/3", None]


def test_without_carriers_there_is_no_candidate(tmp_path: Path) -> None:
    done = Done(tmp_path)
    done.put(1, 900, S3)
    assert done.next() is None
