"""The disk monitor, on the real disk of the machine but with simulated free space."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent

from audiohookd.observe.counters import Counters
from audiohookd.spool.disk_monitor import FREE_HYSTERESIS, MISSED_PROBES, PROBE_INTERVAL, DiskMonitor, SpoolDisk
from audiohookd.spool.paths import SpoolPaths
from audiohookd.testing import MemoryWorkers

MIB = 1 << 20
MIN_FREE = 1024 * MIB
BLOCK = 4096


class Watched:
    """A monitored spool on a disk with ``free`` free bytes."""

    def __init__(self, directory: Path, min_free: int = MIN_FREE) -> None:
        self.layout = SpoolPaths(directory)
        for place in (self.layout.draft, self.layout.ready):
            place.mkdir(parents=True)
        self.free = 100 * MIN_FREE
        self.intruder: OSError | None = None
        self.complaints: dict[str, str | None] = {"writer": None, "size": None}
        self.told: list[str | None] = []
        self.clock = Clock()
        self.workers = MemoryWorkers()
        self.counters = Counters()
        self.watch = DiskMonitor(
            self.clock,
            self.workers,
            self.counters.count,
            SpoolDisk(self.layout, self.keep_lock, self.statvfs),
            min_free,
            {cause: self.complain(cause) for cause in self.complaints},
            self.told.append,
        )

    def keep_lock(self) -> None:
        if self.intruder is not None:
            raise self.intruder

    def statvfs(self, path: Any) -> Any:
        assert path.parent == self.layout.directory
        return SimpleNamespace(f_bavail=self.free // BLOCK, f_frsize=BLOCK, f_bfree=self.free, f_bsize=1)

    def complain(self, cause: str) -> Callable[[], str | None]:
        return lambda: self.complaints[cause]

    def look(self) -> str | None:
        """Runs the next probe, and returns the reason why new calls must not be accepted."""
        self.clock.advance(PROBE_INTERVAL)
        assert len(self.workers) == 1
        self.workers.run()
        return self.watch.not_ready_reason


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    watched = Watched(tmp_path / "spool")
    watched.watch.startService()
    return watched


def levels(events: list[LogEvent]) -> list[str]:
    return [event["log_level"].name for event in events]


class TestTheStart:
    def test_a_start_with_a_good_disk_is_ready_at_once(self, tmp_path: Path) -> None:
        watched = Watched(tmp_path / "spool")
        watched.watch.startService()
        assert watched.watch.not_ready_reason is None
        assert watched.watch.free == 100 * MIN_FREE
        assert len(watched.workers) == 0
        assert watched.told == []

    def test_a_full_disk_does_not_fail_the_start(self, tmp_path: Path, logged: list[LogEvent]) -> None:
        watched = Watched(tmp_path / "spool")
        watched.free = 812 * MIB
        watched.watch.startService()
        obstacle = f"less than 1024 MiB free on {tmp_path}/spool (812 MiB)"
        assert watched.watch.not_ready_reason == obstacle
        assert watched.told == [obstacle]
        assert levels(logged) == ["error"]

    def test_missing_directories_do_not_fail_the_start(self, tmp_path: Path) -> None:
        watched = Watched(tmp_path / "spool")
        shutil.rmtree(tmp_path / "spool")
        watched.watch.startService()
        assert watched.watch.not_ready_reason == f"{tmp_path}/spool/draft: No such file or directory"


class TestFreeRoom:
    def test_free_space_is_probed_every_few_seconds(self, watched: Watched) -> None:
        watched.free = MIN_FREE - BLOCK
        watched.clock.advance(PROBE_INTERVAL - 0.01)
        assert len(watched.workers) == 0
        assert watched.look() == f"less than 1024 MiB free on {watched.layout.directory} (1023 MiB)"
        assert watched.watch.free == MIN_FREE - BLOCK

    def test_exactly_min_free_is_enough(self, watched: Watched) -> None:
        watched.free = MIN_FREE
        assert watched.look() is None

    def test_recovery_needs_more_than_min_free(self, watched: Watched) -> None:
        watched.free = MIN_FREE - BLOCK
        watched.look()
        watched.free = MIN_FREE + FREE_HYSTERESIS - BLOCK
        assert watched.look() == f"less than 1088 MiB free on {watched.layout.directory} (1087 MiB)"
        watched.free = MIN_FREE + FREE_HYSTERESIS
        assert watched.look() is None
        watched.free = MIN_FREE
        assert watched.look() is None

    def test_recovery_needs_a_twentieth_more_of_a_large_min_free(self, tmp_path: Path) -> None:
        asked = 100 * 1024 * MIB
        watched = Watched(tmp_path / "spool", min_free=asked)
        watched.free = asked - BLOCK
        watched.watch.startService()
        watched.free = asked * 21 // 20 - BLOCK
        assert watched.look() is not None
        watched.free = asked * 21 // 20
        assert watched.look() is None

    def test_no_limit_accepts_a_full_disk(self, tmp_path: Path) -> None:
        watched = Watched(tmp_path / "spool", min_free=0)
        watched.free = 0
        watched.watch.startService()
        assert watched.look() is None

    def test_a_change_is_reported_and_logged_in_both_directions(
        self, watched: Watched, logged: list[LogEvent]
    ) -> None:
        for watched.free in (MIN_FREE // 2, MIN_FREE // 3, MIN_FREE // 4, 2 * MIN_FREE, 2 * MIN_FREE):
            watched.look()
        assert watched.told == [f"less than 1024 MiB free on {watched.layout.directory} (512 MiB)", None]
        assert levels(logged) == ["error", "info"]
        assert watched.counters.items() == [("not_ready_transitions", "room", 1)]

    def test_free_space_excludes_the_reserve_of_root(self, tmp_path: Path) -> None:
        (tmp_path / "draft").mkdir()
        (tmp_path / "ready").mkdir()
        found = SpoolDisk(SpoolPaths(tmp_path), nothing).probe()
        system = os.statvfs(tmp_path)
        assert found == pytest.approx(system.f_bavail * system.f_frsize, rel=0.05)


class TestTheDirectories:
    @pytest.mark.parametrize("place", ["draft", "ready"])
    def test_a_missing_directory_is_reported_until_it_returns(self, place: str, watched: Watched) -> None:
        directory = watched.layout.directory / place
        directory.rmdir()
        assert watched.look() == f"{directory}: No such file or directory"
        directory.mkdir()
        assert watched.look() is None
        assert watched.counters.items() == [("not_ready_transitions", "disk", 1)]

    def test_a_probe_writes_a_file_and_removes_it(self, watched: Watched) -> None:
        watched.look()
        assert list(watched.layout.draft.iterdir()) == list(watched.layout.ready.iterdir()) == []

    @pytest.mark.parametrize("place", ["draft", "ready"])
    def test_a_directory_that_is_not_writable_is_reported(self, place: str, tmp_path: Path) -> None:
        """Uses /proc, where not even root can create a file."""
        watched = Watched(tmp_path)
        (tmp_path / place).rmdir()
        (tmp_path / place).symlink_to("/proc")
        watched.watch.startService()
        assert watched.watch.not_ready_reason is not None
        assert watched.watch.not_ready_reason.startswith(f"{tmp_path}/{place}: ")

    def test_a_change_of_the_file_system_is_reported(self, watched: Watched) -> None:
        """This happens if the mount disappears, and the directories below the mount point are used."""
        assert os.stat("/proc").st_dev != watched.layout.ready.stat().st_dev
        watched.layout.ready.rmdir()
        watched.layout.ready.symlink_to("/proc")
        assert watched.look() == f"{watched.layout.directory}: is not the file system it was at the start"


def test_a_lock_of_a_second_daemon_is_reported(watched: Watched) -> None:
    watched.intruder = OSError(errno.EWOULDBLOCK, "is held by another daemon", f"{watched.layout.lock}")
    assert watched.look() == f"{watched.layout.lock}: is held by another daemon"
    watched.intruder = None
    assert watched.look() is None


def nothing() -> None:
    """Replaces :meth:`Lock.keep`: the lock is always held."""


class RefusingDisk(SpoolDisk):
    """A disk with an error that a test chooses."""

    fault: Exception | None = None

    def probe(self) -> int:
        if self.fault is not None:
            raise self.fault
        return super().probe()


class TestTheDisk:
    @pytest.fixture
    def disk(self, tmp_path: Path) -> RefusingDisk:
        (tmp_path / "draft").mkdir()
        (tmp_path / "ready").mkdir()
        return RefusingDisk(SpoolPaths(tmp_path), nothing)

    @pytest.fixture
    def watch(self, disk: RefusingDisk) -> DiskMonitor:
        return DiskMonitor(Clock(), MemoryWorkers(), Counters().count, disk, 0, {}, lambda _: None)

    def test_a_read_only_disk_is_reported(self, disk: RefusingDisk, watch: DiskMonitor) -> None:
        disk.fault = OSError(errno.EROFS, os.strerror(errno.EROFS), "/spool/draft")
        watch.startService()
        assert watch.not_ready_reason == "/spool/draft: Read-only file system"

    def test_an_unexpected_exception_is_reported(self, disk: RefusingDisk, watch: DiskMonitor) -> None:
        disk.fault = RuntimeError("out of order")
        watch.startService()
        assert watch.not_ready_reason == "the disk cannot be probed: out of order"

    def test_a_hanging_disk_is_reported(self, watched: Watched) -> None:
        watched.clock.pump([PROBE_INTERVAL] * MISSED_PROBES)
        assert watched.watch.not_ready_reason is None
        assert len(watched.workers) == 1
        watched.clock.advance(PROBE_INTERVAL)
        assert watched.watch.not_ready_reason == f"the disk of {watched.layout.directory} has not answered for 30 s"
        watched.clock.pump([PROBE_INTERVAL] * 10)
        assert watched.watch.not_ready_reason == f"the disk of {watched.layout.directory} has not answered for 80 s"
        assert len(watched.workers) == 1
        assert len(watched.told) == 1

    def test_a_disk_that_answers_again_is_ready(self, watched: Watched) -> None:
        watched.clock.pump([PROBE_INTERVAL] * (MISSED_PROBES + 1))
        watched.free = MIN_FREE // 2
        watched.workers.run()
        assert watched.watch.not_ready_reason == f"less than 1024 MiB free on {watched.layout.directory} (512 MiB)"
        assert watched.counters.items() == [
            ("not_ready_transitions", "disk", 1),
            ("not_ready_transitions", "room", 1),
        ]
        watched.free = 2 * MIN_FREE
        assert watched.look() is None

    def test_slow_probes_are_not_a_hanging_disk(self, watched: Watched) -> None:
        for _ in range(4):
            watched.clock.pump([PROBE_INTERVAL] * MISSED_PROBES)
            watched.workers.run()
            assert watched.watch.not_ready_reason is None


class TestHealthChecks:
    def test_an_error_is_reported_while_the_check_returns_it(self, watched: Watched) -> None:
        watched.complaints["writer"] = "the disk refuses"
        assert watched.look() == "the disk refuses"
        watched.complaints["writer"] = None
        assert watched.look() is None
        assert watched.told == ["the disk refuses", None]
        assert watched.counters.items() == [("not_ready_transitions", "writer", 1)]

    def test_checks_run_while_the_disk_hangs(self, watched: Watched) -> None:
        watched.clock.advance(PROBE_INTERVAL)
        watched.complaints["writer"] = "the disk stalls"
        watched.clock.advance(PROBE_INTERVAL)
        assert watched.watch.not_ready_reason == "the disk stalls"

    def test_another_cause_is_reported_again(self, watched: Watched) -> None:
        watched.complaints["writer"] = "the disk stalls for 30 s"
        watched.look()
        watched.complaints["writer"] = "the disk stalls for 35 s"
        assert watched.look() == "the disk stalls for 35 s"
        watched.complaints.update(writer=None, size="the spool takes too much")
        watched.look()
        assert watched.told == ["the disk stalls for 30 s", "the spool takes too much"]


class TestTheStop:
    def test_a_stop_leaves_no_timer(self, watched: Watched) -> None:
        watched.look()
        watched.watch.stopService()
        assert watched.clock.getDelayedCalls() == []

    def test_a_stop_does_not_wait_for_a_hanging_disk(self, watched: Watched) -> None:
        watched.clock.advance(PROBE_INTERVAL)
        watched.free = 0
        assert watched.watch.stopService() is None
        watched.workers.run()
        assert watched.told == []
