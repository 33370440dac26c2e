"""Deliveries survive a crash or a disk error at every step: all are made, and no file goes before its receipt."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed

from audiohookd.delivery.file_moves import FileOperations
from audiohookd.interfaces import IRecording, Undeliverable
from audiohookd.testing import MemoryWorkers
from tests.delivery.delivery_rig import (
    DAY,
    YESTERDAY,
    Carrier,
    NoSync,
    Notifier,
    Rig,
    files,
    logged,
    make_ready,
    recording_id,
)

#: More steps than any run in these tests takes.
FOREVER = 10_000
IDS = [recording_id(number) for number in (1, 2)]


class Killed(BaseException):
    """Ends the simulated process: none of its code runs any more."""


class MortalDisk(NoSync):
    """Executes so many steps, then the process is dead. A write at that step leaves half of its content."""

    def __init__(self, steps: int) -> None:
        self.steps = 0
        self.last = steps

    def _step(self) -> None:
        if self.steps >= self.last:
            raise Killed
        self.steps += 1

    def create(self, path: Path, content: bytes, durable: bool) -> None:
        self._step()
        super().create(path, content[: len(content) // 2], durable)
        self._step()
        super().create(path, content, durable)

    def rename(self, old: Path, new: Path) -> None:
        self._step()
        super().rename(old, new)

    def unlink(self, path: Path) -> None:
        self._step()
        if path.suffix == ".wav" and path.exists():
            receipts = {one.name.partition(".")[2] for one in path.parent.glob(f"{path.stem}.stored.*.json")}
            assert receipts == {"stored.s3.json", "stored.tape.json"}
        super().unlink(path)

    def mkdir(self, path: Path) -> None:
        self._step()
        super().mkdir(path)

    def sync(self, directory: Path) -> None:
        self._step()
        super().sync(directory)


class FaultyDisk(MortalDisk):
    """Fails one step."""

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self.last:
            raise OSError(errno.EIO, "Input/output error")


class MortalWorkers(MemoryWorkers):
    """Worker threads that end with their process, as do the Deferreds that wait for them."""

    is_dead = False

    def do(self, work: Callable[[], Any]) -> "Deferred[Any]":
        result: Deferred[Any] = Deferred()

        def live() -> None:
            if not self.is_dead:
                try:
                    outcome = succeed(work())
                except Killed:
                    self.is_dead = True
                    return
                except Exception:
                    outcome = fail()
                outcome.chainDeferred(result)

        super().do(live)
        return result


class World:
    """A spool with two recordings, and destinations that outlive the daemon."""

    def __init__(self, spool: Path, keeps_local: bool) -> None:
        self.spool = spool
        self.keeps_local = keeps_local
        self.plugins: dict[str, Any] = {"s3": Carrier(2), "tape": Carrier(), "webhook": Notifier()}
        make_ready(spool, 1, YESTERDAY)
        make_ready(spool, 2)

    def live(self, disk: FileOperations) -> Rig:
        """Runs a daemon from its start until everything is delivered, or until it dies."""
        rig = Rig(self.spool, self.keeps_local, disk, workers=MortalWorkers(), **self.plugins)
        rig.start()
        rig.pass_time(70)
        return rig

    def shelf(self) -> set[str]:
        return files(self.spool, "ready")

    def check(self) -> None:
        """Asserts that everything is delivered and every file is in its place."""
        for name in ("s3", "tape"):
            assert sorted(self.plugins[name].store) == IDS
            assert all(set(stored) == {"wav", "json"} for stored in self.plugins[name].store.values())
        assert set(self.plugins["webhook"].asked) == set(IDS)
        assert self.shelf() == set()
        suffixes = ["wav", "json", "stored.s3.json", "stored.tape.json", "told.webhook.json"] * self.keeps_local
        expected = {f"{day}/{number}.{end}" for number, day in ((1, YESTERDAY), (2, DAY)) for end in suffixes}
        assert files(self.spool, "done") == expected


Make = Callable[[bool], World]


@pytest.fixture
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return lambda keeps_local: World(tmp_path_factory.mktemp("spool"), keeps_local)


@pytest.mark.parametrize("keeps_local", [False, True])
class TestDeath:
    def steps(self, make: Make, keeps_local: bool) -> int:
        disk = MortalDisk(FOREVER)
        make(keeps_local).live(disk)
        return disk.steps

    def test_recovers_at_any_step(self, make: Make, keeps_local: bool) -> None:
        steps = self.steps(make, keeps_local)
        assert steps > 20
        for step in range(steps):
            world = make(keeps_local)
            assert world.live(MortalDisk(step)).workers.is_dead  # type: ignore[attr-defined]
            world.live(MortalDisk(FOREVER))
            world.check()

    @settings(max_examples=60, deadline=None)
    @given(lives=st.lists(st.integers(0, 25), min_size=2, max_size=8))
    def test_recovers_after_repeated_crashes(
        self, tmp_path_factory: pytest.TempPathFactory, keeps_local: bool, lives: list[int]
    ) -> None:
        world = World(tmp_path_factory.mktemp("spool"), keeps_local)
        for steps in lives:
            world.live(MortalDisk(steps))
        world.live(MortalDisk(FOREVER))
        world.check()

    def test_costs_at_most_one_more_delivery(self, make: Make, keeps_local: bool) -> None:
        for step in range(self.steps(make, keeps_local)):
            world = make(keeps_local)
            world.live(MortalDisk(step))
            world.live(MortalDisk(FOREVER))
            for plugin in world.plugins.values():
                assert all(plugin.asked.count(id_) <= 2 for id_ in IDS)

    def test_does_not_depend_on_the_destinations_configured_before(self, make: Make, keeps_local: bool) -> None:
        """A recording that has passed a stage stays past it, although another carrier is configured now."""
        for step in range(self.steps(make, keeps_local)):
            world = make(keeps_local)
            world.live(MortalDisk(step))
            world.plugins["attic"] = Carrier()
            with logged() as lines:
                world.live(NoSync())
            assert lines == []
            assert world.shelf() == set()
            assert set(world.plugins["webhook"].asked) == set(IDS)


@pytest.mark.parametrize("keeps_local", [False, True])
def test_a_step_that_the_disk_refuses(make: Make, keeps_local: bool) -> None:
    disk = MortalDisk(FOREVER)
    make(keeps_local).live(disk)
    for step in range(1, disk.steps + 1):
        world = make(keeps_local)
        rig = world.live(FaultyDisk(step))
        rig.pass_time(130)
        # The next daemon completes an interrupted move.
        world.live(MortalDisk(FOREVER))
        world.check()


class TestDeathOfADeadLetter:
    def world(self, make: Make) -> World:
        def refuse(recording: IRecording) -> Any:
            raise Undeliverable("never")

        world = make(False)
        world.plugins = {"s3": Carrier(act=refuse), "tape": Carrier()}
        return world

    def test_recovers_at_any_step(self, make: Make) -> None:
        disk = MortalDisk(FOREVER)
        self.world(make).live(disk)
        assert disk.steps > 10
        for step in range(disk.steps):
            world = self.world(make)
            world.live(MortalDisk(step))
            world.live(MortalDisk(FOREVER))
            assert world.shelf() == set()
            dead = files(world.spool, "dead")
            for where in (f"{YESTERDAY}/1", f"{DAY}/2"):
                assert {f"{where}.{end}" for end in ("wav", "json", "reason.txt")} <= dead
            assert not any(name.endswith(".new") for name in dead)
            assert sorted(world.plugins["tape"].store) == IDS
