"""Whether the disk can take one more recording. Its free room is the test's; all else is the disk of this machine."""

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
    """A spool on a disk of which ``free`` bytes are free, and the watch over it."""

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
        """The next look, done at once."""
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
    def test_knows_at_once_that_all_is_well(self, tmp_path: Path) -> None:
        watched = Watched(tmp_path / "spool")
        watched.watch.startService()
        assert watched.watch.not_ready_reason is None
        assert watched.watch.free == 100 * MIN_FREE
        assert len(watched.workers) == 0
        assert watched.told == []

    def test_goes_on_though_there_is_no_room(self, tmp_path: Path, logged: list[LogEvent]) -> None:
        watched = Watched(tmp_path / "spool")
        watched.free = 812 * MIB
        watched.watch.startService()
        obstacle = f"less than 1024 MiB free on {tmp_path}/spool (812 MiB)"
        assert watched.watch.not_ready_reason == obstacle
        assert watched.told == [obstacle]
        assert levels(logged) == ["error"]

    def test_goes_on_though_the_directories_are_gone(self, tmp_path: Path) -> None:
        watched = Watched(tmp_path / "spool")
        shutil.rmtree(tmp_path / "spool")
        watched.watch.startService()
        assert watched.watch.not_ready_reason == f"{tmp_path}/spool/draft: No such file or directory"


class TestFreeRoom:
    def test_is_looked_at_every_few_seconds(self, watched: Watched) -> None:
        watched.free = MIN_FREE - BLOCK
        watched.clock.advance(PROBE_INTERVAL - 0.01)
        assert len(watched.workers) == 0
        assert watched.look() == f"less than 1024 MiB free on {watched.layout.directory} (1023 MiB)"
        assert watched.watch.free == MIN_FREE - BLOCK

    def test_may_be_just_enough(self, watched: Watched) -> None:
        watched.free = MIN_FREE
        assert watched.look() is None

    def test_must_be_more_than_that_once_it_was_too_little(self, watched: Watched) -> None:
        watched.free = MIN_FREE - BLOCK
        watched.look()
        watched.free = MIN_FREE + FREE_HYSTERESIS - BLOCK
        assert watched.look() == f"less than 1088 MiB free on {watched.layout.directory} (1087 MiB)"
        watched.free = MIN_FREE + FREE_HYSTERESIS
        assert watched.look() is None
        watched.free = MIN_FREE
        assert watched.look() is None

    def test_must_be_a_twentieth_more_where_much_is_asked_for(self, tmp_path: Path) -> None:
        asked = 100 * 1024 * MIB
        watched = Watched(tmp_path / "spool", min_free=asked)
        watched.free = asked - BLOCK
        watched.watch.startService()
        watched.free = asked * 21 // 20 - BLOCK
        assert watched.look() is not None
        watched.free = asked * 21 // 20
        assert watched.look() is None

    def test_may_be_none_where_no_limit_is_set(self, tmp_path: Path) -> None:
        watched = Watched(tmp_path / "spool", min_free=0)
        watched.free = 0
        watched.watch.startService()
        assert watched.look() is None

    def test_is_told_when_it_begins_and_ends_to_be_too_little(self, watched: Watched, logged: list[LogEvent]) -> None:
        for watched.free in (MIN_FREE // 2, MIN_FREE // 3, MIN_FREE // 4, 2 * MIN_FREE, 2 * MIN_FREE):
            watched.look()
        assert watched.told == [f"less than 1024 MiB free on {watched.layout.directory} (512 MiB)", None]
        assert levels(logged) == ["error", "info"]
        assert watched.counters.items() == [("not_ready_transitions", "room", 1)]

    def test_is_what_who_is_not_root_may_use(self, tmp_path: Path) -> None:
        (tmp_path / "draft").mkdir()
        (tmp_path / "ready").mkdir()
        found = SpoolDisk(SpoolPaths(tmp_path), nothing).probe()
        system = os.statvfs(tmp_path)
        assert found == pytest.approx(system.f_bavail * system.f_frsize, rel=0.05)


class TestTheDirectories:
    @pytest.mark.parametrize("place", ["draft", "ready"])
    def test_are_missed_and_welcome_again(self, place: str, watched: Watched) -> None:
        directory = watched.layout.directory / place
        directory.rmdir()
        assert watched.look() == f"{directory}: No such file or directory"
        directory.mkdir()
        assert watched.look() is None
        assert watched.counters.items() == [("not_ready_transitions", "disk", 1)]

    def test_are_written_into_and_nothing_stays_there(self, watched: Watched) -> None:
        watched.look()
        assert list(watched.layout.draft.iterdir()) == list(watched.layout.ready.iterdir()) == []

    @pytest.mark.parametrize("place", ["draft", "ready"])
    def test_may_refuse_to_be_written_into(self, place: str, tmp_path: Path) -> None:
        """Not even root can make a file in /proc."""
        watched = Watched(tmp_path)
        (tmp_path / place).rmdir()
        (tmp_path / place).symlink_to("/proc")
        watched.watch.startService()
        assert watched.watch.not_ready_reason is not None
        assert watched.watch.not_ready_reason.startswith(f"{tmp_path}/{place}: ")

    def test_may_be_on_another_file_system_than_at_the_start(self, watched: Watched) -> None:
        """So it is when what was mounted is not there any more, but the directories below it are."""
        assert os.stat("/proc").st_dev != watched.layout.ready.stat().st_dev
        watched.layout.ready.rmdir()
        watched.layout.ready.symlink_to("/proc")
        assert watched.look() == f"{watched.layout.directory}: is not the file system it was at the start"


def test_a_second_daemon_is_an_obstacle(watched: Watched) -> None:
    watched.intruder = OSError(errno.EWOULDBLOCK, "is held by another daemon", f"{watched.layout.lock}")
    assert watched.look() == f"{watched.layout.lock}: is held by another daemon"
    watched.intruder = None
    assert watched.look() is None


def nothing() -> None:
    """Nobody takes the lock away."""


class RefusingDisk(SpoolDisk):
    """Fails as it is told."""

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

    def test_may_go_read_only(self, disk: RefusingDisk, watch: DiskMonitor) -> None:
        disk.fault = OSError(errno.EROFS, os.strerror(errno.EROFS), "/spool/draft")
        watch.startService()
        assert watch.not_ready_reason == "/spool/draft: Read-only file system"

    def test_may_fail_in_ways_that_nobody_thought_of(self, disk: RefusingDisk, watch: DiskMonitor) -> None:
        disk.fault = RuntimeError("out of order")
        watch.startService()
        assert watch.not_ready_reason == "the disk cannot be probed: out of order"

    def test_may_not_answer(self, watched: Watched) -> None:
        watched.clock.pump([PROBE_INTERVAL] * MISSED_PROBES)
        assert watched.watch.not_ready_reason is None
        assert len(watched.workers) == 1
        watched.clock.advance(PROBE_INTERVAL)
        assert watched.watch.not_ready_reason == f"the disk of {watched.layout.directory} has not answered for 30 s"
        watched.clock.pump([PROBE_INTERVAL] * 10)
        assert watched.watch.not_ready_reason == f"the disk of {watched.layout.directory} has not answered for 80 s"
        assert len(watched.workers) == 1
        assert len(watched.told) == 1

    def test_may_answer_after_all(self, watched: Watched) -> None:
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

    def test_may_be_slow_each_time_without_being_given_up(self, watched: Watched) -> None:
        for _ in range(4):
            watched.clock.pump([PROBE_INTERVAL] * MISSED_PROBES)
            watched.workers.run()
            assert watched.watch.not_ready_reason is None


class TestWhatOthersSay:
    def test_is_an_obstacle_as_long_as_they_say_it(self, watched: Watched) -> None:
        watched.complaints["writer"] = "the disk refuses"
        assert watched.look() == "the disk refuses"
        watched.complaints["writer"] = None
        assert watched.look() is None
        assert watched.told == ["the disk refuses", None]
        assert watched.counters.items() == [("not_ready_transitions", "writer", 1)]

    def test_is_heard_while_the_disk_does_not_answer(self, watched: Watched) -> None:
        watched.clock.advance(PROBE_INTERVAL)
        watched.complaints["writer"] = "the disk stalls"
        watched.clock.advance(PROBE_INTERVAL)
        assert watched.watch.not_ready_reason == "the disk stalls"

    def test_is_told_again_when_it_is_something_else(self, watched: Watched) -> None:
        watched.complaints["writer"] = "the disk stalls for 30 s"
        watched.look()
        watched.complaints["writer"] = "the disk stalls for 35 s"
        assert watched.look() == "the disk stalls for 35 s"
        watched.complaints.update(writer=None, size="the spool takes too much")
        watched.look()
        assert watched.told == ["the disk stalls for 30 s", "the spool takes too much"]


class TestTheStop:
    def test_leaves_nothing_behind(self, watched: Watched) -> None:
        watched.look()
        watched.watch.stopService()
        assert watched.clock.getDelayedCalls() == []

    def test_does_not_wait_for_a_disk_that_does_not_answer(self, watched: Watched) -> None:
        watched.clock.advance(PROBE_INTERVAL)
        watched.free = 0
        assert watched.watch.stopService() is None
        watched.workers.run()
        assert watched.told == []
