"""Whatever step the daemon dies at, or the disk refuses: all is delivered, and nothing goes before its receipt."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed

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

#: More steps than any of these runs takes.
FOREVER = 10_000
IDS = [recording_id(number) for number in (1, 2)]


class Killed(BaseException):
    """No code of a process that is killed runs any more."""


class MortalDisk(NoSync):
    """Takes so many steps; then the process is dead. Half of what is being written is there."""

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
    """Refuses one step."""

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self.last:
            raise OSError(errno.EIO, "Input/output error")


class MortalWorkers(MemoryWorkers):
    """Threads that end with their process, and so does what waits for them."""

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
    """A spool with two recordings, and the others, which outlive the daemon."""

    def __init__(self, spool: Path, keeps_local: bool) -> None:
        self.spool = spool
        self.keeps_local = keeps_local
        self.plugins: dict[str, Any] = {"s3": Carrier(2), "tape": Carrier(), "webhook": Notifier()}
        make_ready(spool, 1, YESTERDAY)
        make_ready(spool, 2)

    def live(self, disk: MortalDisk) -> Rig:
        """A daemon, from its start until all is done, or it dies."""
        rig = Rig(self.spool, self.keeps_local, disk, workers=MortalWorkers(), **self.plugins)
        rig.start()
        rig.pass_time(70)
        return rig

    def shelf(self) -> set[str]:
        return files(self.spool, "ready")

    def check(self) -> None:
        """All is delivered, and everything is in its place."""
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

    def test_at_any_step(self, make: Make, keeps_local: bool) -> None:
        steps = self.steps(make, keeps_local)
        assert steps > 20
        for step in range(steps):
            world = make(keeps_local)
            assert world.live(MortalDisk(step)).workers.is_dead
            world.live(MortalDisk(FOREVER))
            world.check()

    @settings(max_examples=60, deadline=None)
    @given(lives=st.lists(st.integers(0, 25), min_size=2, max_size=8))
    def test_again_and_again(
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

    def test_is_no_business_of_who_was_configured_then(self, make: Make, keeps_local: bool) -> None:
        """What had moved on has moved on, though another carrier is there now."""
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
        # What was cut short in the middle of a move is finished by the next daemon.
        world.live(MortalDisk(FOREVER))
        world.check()


class TestDeathOfADeadLetter:
    def world(self, make: Make) -> World:
        def refuse(recording: IRecording) -> Any:
            raise Undeliverable("never")

        world = make(False)
        world.plugins = {"s3": Carrier(act=refuse), "tape": Carrier()}
        return world

    def test_at_any_step(self, make: Make) -> None:
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
