"""The retention service."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher

from audiohookd.observe.counters import Counters
from audiohookd.runtime.loops import Supervisor
from audiohookd.spool.retention import HURRY_EVERY, SWEEP_EVERY, Retention, RetentionPolicy
from audiohookd.testing import MemoryWorkers
from tests.spool.retention_rig import DAYS, HOUR, NOW, FullSpool, recording_id

MIB = 1 << 20


class Kept:
    """A spool with its retention service."""

    def __init__(self, directory: Path, *carriers: str, keep: float = 0.0, limit: int = 0) -> None:
        self.spool = FullSpool(directory)
        self.clock = Clock()
        #: Seconds by which the wall clock is ahead.
        self.step = 0.0
        self.workers = MemoryWorkers()
        self.counters = Counters()
        terms = RetentionPolicy(frozenset(carriers), keep, limit)
        self.service = Retention(self.clock, self.now, self.workers, self.counters.count, self.spool.layout, terms)

    def now(self) -> float:
        """The current time, in seconds since the epoch."""
        return NOW + self.clock.seconds()

    def sweep(self) -> str | None:
        """Runs the next pass, and returns why new calls must not be accepted."""
        self.clock.advance(SWEEP_EVERY)
        assert len(self.workers) == 1
        self.workers.run()
        return self.service.obstacle


@pytest.fixture
def logged() -> Iterator[list[str]]:
    found: list[str] = []

    def keep(event: LogEvent) -> None:
        found.append(event["log_level"].name)

    globalLogPublisher.addObserver(keep)  # type: ignore[arg-type]
    yield found
    globalLogPublisher.removeObserver(keep)  # type: ignore[arg-type]


def test_a_pass_runs_at_the_start_and_each_minute(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "spool", "s3", keep=HOUR)
    kept.spool.put(kept.spool.layout.done / DAYS[3], 1, age=HOUR + 1)
    kept.spool.put(kept.spool.layout.done / DAYS[3], 2, age=HOUR - 1)
    kept.service.startService()
    assert len(kept.spool.files()) == 8
    kept.workers.run()
    assert kept.spool.numbers(kept.spool.layout.done) == [2]
    assert kept.service.obstacle is None
    kept.sweep()
    assert kept.spool.files() == {}
    assert kept.counters.items() == [("recordings_removed", "expired", 2)]


def test_passes_never_overlap(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "spool", "s3")
    kept.service.startService()
    kept.clock.pump([SWEEP_EVERY] * 5)
    assert len(kept.workers) == 1
    kept.workers.run()
    kept.sweep()


def test_a_hanging_pass_stays_unhealthy_while_its_pool_is_full(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "spool", "s3")
    kept.workers = MemoryWorkers(waiting=2)
    terms = RetentionPolicy(frozenset({"s3"}), 0.0, 0)
    service = Retention(kept.clock, kept.now, kept.workers, kept.counters.count, kept.spool.layout, terms)
    told: list[str | None] = []
    supervisor = Supervisor(kept.clock, [service.loop], kept.counters.count, told.append)
    service.startService()
    supervisor.startService()
    kept.clock.pump([1.0] * 30 * int(SWEEP_EVERY))
    assert told == ["periodic work has stopped: retention"]


def test_no_pass_runs_without_carriers_and_limit(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "spool")
    kept.service.startService()
    assert len(kept.workers) == 0
    assert kept.clock.getDelayedCalls() == []
    kept.service.stopService()


def test_an_eviction_is_counted_and_logged(tmp_path: Path, logged: list[str]) -> None:
    kept = Kept(tmp_path / "spool", "s3", keep=100 * HOUR, limit=MIB)
    kept.spool.put(kept.spool.layout.done / DAYS[0], 1, size=MIB // 4)
    kept.spool.put(kept.spool.layout.done / DAYS[1], 2, size=MIB // 4)
    kept.service.startService()
    kept.workers.run()
    assert kept.spool.numbers(kept.spool.layout.done) == [2]
    assert kept.service.obstacle is None
    assert kept.counters.items() == [("recordings_removed", "evicted", 1)]
    assert logged == ["info"]


def test_passes_run_more_often_while_calls_are_rejected(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "spool", "s3", limit=MIB)
    day = kept.spool.layout.ready / DAYS[0]
    kept.spool.put(day, 1, ["wav", "json"], size=MIB // 2 + 1)
    kept.service.startService()
    kept.workers.run()
    assert kept.service.obstacle is not None
    kept.spool.put(day, 1, ["stored.s3.json"], size=1)
    kept.clock.advance(HURRY_EVERY)
    kept.workers.run()
    assert kept.service.obstacle is None
    kept.clock.pump([HURRY_EVERY] * 2)
    assert len(kept.workers) == 0


@pytest.mark.parametrize("carriers", [(), ("s3",)])
def test_new_calls_are_rejected_when_nothing_can_be_removed(tmp_path: Path, carriers: tuple[str, ...]) -> None:
    kept = Kept(tmp_path / "spool", *carriers, limit=MIB)
    day = kept.spool.layout.ready / DAYS[0]
    kept.spool.put(day, 1, ["wav", "json"], size=MIB // 2 + 1)
    kept.service.startService()
    kept.workers.run()
    reason = "more than max_spool (1 MiB): the remaining recordings are not stored elsewhere"
    reason = f"{tmp_path}/spool takes 2 MiB, {reason}"
    assert kept.service.obstacle == reason
    assert len(kept.spool.files()) == 2
    (day / f"{recording_id(1)}.wav").unlink()
    assert kept.sweep() is None


def test_a_file_that_cannot_be_removed_is_logged(tmp_path: Path, logged: list[str]) -> None:
    kept = Kept(tmp_path / "spool", "s3", limit=1)
    audio = kept.spool.layout.done / DAYS[0] / f"{recording_id(1)}.wav"
    kept.spool.put(audio.parent, 1, ["json", "stored.s3.json"])
    audio.mkdir()
    kept.service.startService()
    kept.workers.run()
    assert kept.service.obstacle is not None
    assert f"{audio}: Is a directory" in kept.service.obstacle
    assert logged == ["error"]


def test_an_unreadable_spool_is_retried(tmp_path: Path, logged: list[str]) -> None:
    kept = Kept(tmp_path / "spool", "s3")
    kept.spool.layout.done.rmdir()
    kept.spool.layout.done.write_text("in the way")
    kept.service.startService()
    kept.workers.run()
    assert logged == ["error"]
    kept.spool.layout.done.unlink()
    kept.sweep()
    assert logged == ["error"]


def test_a_pass_ends_early_when_the_service_stops(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "spool", "s3")
    for number in range(3):
        kept.spool.put(kept.spool.layout.done / DAYS[0], number)
    kept.service.startService()
    kept.service.stopService()
    kept.workers.run()
    assert len(kept.spool.files()) == 12
    assert kept.clock.getDelayedCalls() == []
    assert kept.service.obstacle is None


def test_a_stop_between_two_passes_leaves_no_timer(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "spool", "s3")
    kept.service.startService()
    kept.workers.run()
    kept.service.stopService()
    assert kept.clock.getDelayedCalls() == []


def test_a_wall_clock_set_forward_for_less_than_an_hour_removes_nothing(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "spool", "s3", keep=100 * HOUR)
    kept.spool.put(kept.spool.layout.done / DAYS[3], 1)
    kept.service.startService()
    kept.workers.run()
    kept.step += 400 * 24 * HOUR
    kept.sweep()
    assert kept.spool.numbers(kept.spool.layout.done) == [1]
    kept.step = 0.0
    kept.sweep()
    assert kept.spool.numbers(kept.spool.layout.done) == [1]
