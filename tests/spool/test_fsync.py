"""Syncing: a power loss costs no audio older than ``sync_interval``."""

import errno
import heapq
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import capturedLogs

from audiohookd.spool.draft import Draft
from audiohookd.spool.format import wav
from audiohookd.spool.format.checksums import read_checksums
from audiohookd.spool.write import fsync, linux_fs
from audiohookd.spool.write.fsync import SYNCFS_THRESHOLD
from tests.crash.ext4 import Ext4, needs_ext4
from tests.spool.faulty_disk import FaultyRig
from tests.spool.spool_rig import FLUSH_INTERVAL, MONO, SYNC_INTERVAL

#: The longest time between two rounds, and the longest time of a round.
PERIOD = (SYNC_INTERVAL - FLUSH_INTERVAL) / 2
START = wav.header_bytes(MONO)


@pytest.fixture
def rig(tmp_path: Path) -> FaultyRig:
    return FaultyRig(tmp_path / "spool", sync=SYNC_INTERVAL)


def names(rig: FaultyRig) -> list[str]:
    return [path.name for path, _ in rig.disk.synced]


def a_round(rig: FaultyRig) -> None:
    rig.clock.advance(PERIOD)
    assert len(rig.syncing) == 1
    rig.syncing.run()


def said(logged: Any) -> list[str]:
    return [event["log_format"].format(**event) for event in logged]


def test_new_files_are_synced_with_their_names(rig: FaultyRig) -> None:
    rig.begin("a").audio(b"\x01\x02")
    rig.commit()
    a_round(rig)
    assert sorted(names(rig)) == ["a.jsonl", "a.wav", "draft"]


def test_a_later_round_syncs_only_files_that_have_grown(rig: FaultyRig) -> None:
    draft, _ = rig.begin("a"), rig.begin("b")
    rig.commit()
    a_round(rig)
    rig.disk.synced.clear()
    draft.audio(b"\x01\x02")
    rig.commit()
    a_round(rig)
    assert sorted(names(rig)) == ["a.jsonl", "a.wav"]


def test_one_round_covers_many_commits(rig: FaultyRig) -> None:
    draft = rig.begin("a")
    for _ in range(4):
        draft.audio(b"\x01\x02")
        rig.commit()
    rig.clock.advance(PERIOD - 3 * FLUSH_INTERVAL)
    rig.syncing.run()
    assert sorted(names(rig)) == ["a.jsonl", "a.wav", "draft"]


def test_rounds_never_overlap(rig: FaultyRig) -> None:
    draft = rig.begin("a")
    rig.commit()
    rig.clock.advance(PERIOD)
    draft.audio(b"\x01\x02")
    rig.commit()
    rig.clock.advance(10 * PERIOD)
    assert len(rig.syncing) == 1
    rig.syncing.run_one()
    rig.clock.advance(0)
    assert len(rig.syncing) == 1


def test_a_commit_does_not_wait_for_a_round(rig: FaultyRig) -> None:
    draft = rig.begin("a")
    rig.commit()
    rig.clock.advance(PERIOD)
    assert len(rig.syncing) == 1
    draft.audio(b"\x01\x02")
    rig.commit()
    assert rig.drafted_audio() == b"\x01\x02"


def test_a_file_moved_before_its_sync_is_no_error(rig: FaultyRig) -> None:
    draft = rig.begin("a")
    rig.commit()
    rig.end(draft)
    a_round(rig)
    assert names(rig) == ["draft"]
    assert rig.writer.fault is None
    assert rig.clock.getDelayedCalls() == []


def test_an_interval_of_zero_turns_syncing_off(tmp_path: Path) -> None:
    rig = FaultyRig(tmp_path, sync=0)
    rig.begin("a").audio(b"\x01\x02")
    rig.commit()
    rig.clock.advance(3600)
    assert len(rig.syncing) == 0
    assert rig.clock.getDelayedCalls() == []


def test_an_interval_shorter_than_flush_uses_the_minimum(tmp_path: Path) -> None:
    rig = FaultyRig(tmp_path, sync=0.01)
    rig.begin("a")
    rig.commit()
    rig.clock.advance(0.1)
    assert len(rig.syncing) == 1


def test_a_stop_leaves_no_timer(rig: FaultyRig) -> None:
    rig.begin("a").audio(b"\x01\x02")
    rig.writer.flush()
    rig.writing.run()
    assert rig.clock.getDelayedCalls() == []


def test_a_stopped_pool_ends_syncing(rig: FaultyRig) -> None:
    rig.begin("a")
    rig.commit()
    for _ in range(1000):
        rig.syncing.do(int)
    rig.clock.advance(PERIOD)
    assert rig.writer.fault is None
    assert rig.clock.getDelayedCalls() == []


class TestErrors:
    def test_an_error_lasts_until_a_sync_succeeds(self, rig: FaultyRig) -> None:
        rig.begin("a")
        rig.commit()
        rig.disk.refuse(errno.EIO, "sync", suffix=".wav")
        with capturedLogs() as logged:
            for _ in range(3):
                a_round(rig)
                assert rig.writer.fault == "cannot sync recordings to disk: Input/output error"
            rig.disk.heal()
            a_round(rig)
        assert rig.writer.fault is None
        assert rig.counters.items() == [("disk_errors", "sync", 3)]
        assert said(logged) == [
            f"cannot sync recordings to disk: Input/output error {rig.draft / 'a.wav'}; retrying 1 files",
            "disk recovered: recordings are synced again",
        ]
        assert names(rig).count("a.wav") == 1

    def test_a_failed_sync_of_a_directory_is_an_error(self, rig: FaultyRig) -> None:
        rig.begin("a")
        rig.commit()
        rig.disk.refuse(errno.EIO, "sync", suffix="draft")
        a_round(rig)
        assert rig.writer.fault is not None
        rig.disk.heal()
        a_round(rig)
        assert names(rig)[-1] == "draft"

    def test_too_many_open_files_are_an_error(self, rig: FaultyRig) -> None:
        rig.begin("a")
        rig.commit()
        rig.disk.refuse(errno.EMFILE, "look")
        a_round(rig)
        assert rig.writer.fault == f"cannot sync recordings to disk: {os.strerror(errno.EMFILE)}"


class TestManyFiles:
    """Syncing of many files: two for each call."""

    @pytest.fixture(autouse=True)
    def machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Simulates a machine on which syncfs may be used, whatever the real file system."""
        monkeypatch.setattr(fsync, "is_syncfs_reliable", lambda _: True)

    @pytest.fixture
    def drafts(self, rig: FaultyRig) -> list[Draft]:
        drafts = [rig.begin(str(number)) for number in range(SYNCFS_THRESHOLD // 2)]
        for draft in drafts:
            draft.audio(b"\x01\x02")
        rig.commit()
        return drafts

    def test_many_files_are_synced_with_their_file_system(self, rig: FaultyRig, drafts: list[Draft]) -> None:
        a_round(rig)
        assert rig.disk.whole_syncs == 1
        assert sorted(names(rig)) == sorted(["draft", *(path.name for path in rig.draft.iterdir())])

    def test_few_files_are_synced_one_by_one(self, rig: FaultyRig, drafts: list[Draft]) -> None:
        a_round(rig)
        for draft in drafts[1:]:
            draft.audio(b"\x01\x02")
        rig.commit()
        a_round(rig)
        assert rig.disk.whole_syncs == 1

    @pytest.mark.usefixtures("drafts")
    @pytest.mark.parametrize("call", ["sync_all", "look"])
    def test_files_are_synced_one_by_one_after_an_error_of_syncfs(self, rig: FaultyRig, call: str) -> None:
        rig.disk.refuse(errno.EIO, call, suffix="draft")
        a_round(rig)
        assert rig.disk.whole_syncs == 0
        assert {path.name for path in rig.draft.iterdir()} <= set(names(rig))

    @pytest.mark.usefixtures("drafts")
    def test_single_syncs_find_the_file_with_the_error(self, rig: FaultyRig) -> None:
        rig.disk.refuse(errno.EIO, "sync_all", "sync", suffix="")
        a_round(rig)
        assert rig.writer.fault == "cannot sync recordings to disk: Input/output error"
        rig.disk.heal()
        a_round(rig)
        assert rig.writer.fault is None

    @pytest.mark.usefixtures("drafts")
    def test_files_are_synced_one_by_one_where_syncfs_is_not_reliable(
        self, rig: FaultyRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fsync, "is_syncfs_reliable", lambda _: False)
        a_round(rig)
        assert rig.disk.whole_syncs == 0
        assert {path.name for path in rig.draft.iterdir()} <= set(names(rig))


class TestFileSystem:
    def test_sync_file_system_writes_a_file(self, tmp_path: Path) -> None:
        file = os.open(tmp_path, os.O_RDONLY)
        try:
            linux_fs.sync_file_system(file)
        finally:
            os.close(file)

    def test_sync_file_system_of_a_closed_file_fails(self) -> None:
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            linux_fs.sync_file_system(-1)

    def test_syncfs_is_not_relied_on_for_other_types(self) -> None:
        file = os.open("/proc", os.O_RDONLY)
        try:
            assert not linux_fs.is_syncfs_reliable(file)
        finally:
            os.close(file)
        assert not linux_fs.is_syncfs_reliable(-1)

    def test_syncfs_is_relied_on_for_ext4(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        needs_ext4()
        monkeypatch.setattr(linux_fs, "_REPORTS_ERRORS", True)
        with Ext4(tmp_path / "image", tmp_path / "disk") as disk:
            file = os.open(disk.mount, os.O_RDONLY)
            assert linux_fs.is_syncfs_reliable(file)
            os.close(file)


class TestSlowRound:
    def test_slow_rounds_are_counted_and_logged_once_in_a_row(self, rig: FaultyRig) -> None:
        draft = rig.begin("a")
        with capturedLogs() as logged:
            for _ in range(3):
                draft.audio(b"\x01\x02")
                rig.commit()
                rig.clock.advance(PERIOD)
                rig.clock.advance(PERIOD)
                rig.syncing.run()
            assert rig.counters.value("slow_syncs") == 3
            assert len(logged) == 1
            assert "longer than 2.25 s" in said(logged)[0]
            draft.audio(b"\x01\x02")
            rig.commit()
            a_round(rig)
            draft.audio(b"\x01\x02")
            rig.commit()
            rig.clock.advance(PERIOD)
            rig.clock.advance(PERIOD)
        assert rig.counters.value("slow_syncs") == 4
        assert len(logged) == 2

    def test_a_round_in_time_is_not_slow(self, rig: FaultyRig) -> None:
        rig.begin("a")
        rig.commit()
        rig.clock.advance(PERIOD)
        rig.clock.advance(PERIOD * 0.99)
        rig.syncing.run()
        assert rig.counters.items() == []


class Run:
    """A call that adds a byte at the given times, on a disk with the given times for rounds."""

    def __init__(self, directory: Path, times: list[int], round_times: list[int]) -> None:
        self.rig = FaultyRig(directory, sync=SYNC_INTERVAL)
        self.draft = self.rig.begin("a", MONO)
        self.round_times = round_times
        self.given: list[float] = []
        self.busy_until: float | None = None
        self.rounds = 0
        self.steps = heapq.merge(times, range(0, max(times) + 10_000, 10))

    def go(self, times: set[int]) -> None:
        for at in self.steps:  # milliseconds
            self.rig.clock.advance(max(0.0, at / 1000 - self.rig.clock.seconds()))
            if at in times:
                times.discard(at)
                self.given.append(at / 1000)
                self.draft.audio(b"\x01")
            self.rig.writing.run()
            self._sync()
            self._check()

    def _sync(self) -> None:
        now = self.rig.clock.seconds()
        if len(self.rig.syncing) and self.busy_until is None:
            self.busy_until = now + self.round_times[self.rounds % len(self.round_times)] / 1000
            self.rounds += 1
        if self.busy_until is not None and now >= self.busy_until:
            self.busy_until = None
            self.rig.syncing.run_one()

    def _check(self) -> None:
        """Checks that a power loss now would lose no audio older than the interval."""
        now = self.rig.clock.seconds()
        sizes = {path: size for path, size in self.rig.disk.synced if path.suffix in (".wav", ".jsonl")}
        audio = next((size - START for path, size in sizes.items() if path.suffix == ".wav"), 0)
        journal = next((path.read_bytes()[:size] for path, size in sizes.items() if path.suffix == ".jsonl"), b"")
        ends = [checksum.end for checksum in read_checksums(journal.splitlines(keepends=True))]
        synced = max((end for end in ends if end <= audio), default=0)  # the verified audio
        promised = sum(
            time < now - SYNC_INTERVAL - 0.02 for time in self.given
        )  # the clock advances in steps of 10 ms, two of which may add up
        assert synced >= promised


@settings(deadline=None, max_examples=40)
@given(
    st.sets(st.integers(0, 30_000), min_size=1, max_size=40),
    st.lists(st.integers(0, int(PERIOD * 1000) - 20), min_size=1, max_size=5),
)
def test_power_loss_at_any_time_costs_no_more_than_the_interval(times: set[int], round_times: list[int]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        run = Run(Path(directory), sorted(times), round_times)
        run.go(set(times))
        assert run.rounds > 0
        assert run.rig.counters.items() == []
