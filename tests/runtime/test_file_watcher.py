"""Files that are read again when they change."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from audiohookd.observe.counters import Counters
from audiohookd.runtime.file_watcher import POLL_INTERVAL, ReloadableFile
from audiohookd.testing import MemoryWorkers


class Rig:
    """A file with a word in it, and its watcher."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("one")
        self.clock, self.workers, self.counters = Clock(), MemoryWorkers(), Counters()
        self.taken: list[str] = []
        self.watched = ReloadableFile(
            self.clock, self.workers, "word", [path], self.read, self.take, self.counters.count
        )

    def write(self, word: str) -> None:
        """As editors do."""
        new = self.path.with_suffix(".new")
        new.write_text(word)
        os.rename(new, self.path)

    def read(self) -> str:
        word = self.path.read_text()
        if word == "bad":
            raise ValueError("a bad word")
        return word

    def take(self, word: str) -> str:
        self.taken.append(word)
        return word

    def look(self) -> None:
        self.clock.advance(POLL_INTERVAL)
        self.workers.run()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path / "word")
    assert rig.watched.load() == "one"
    rig.watched.startService()
    return rig


def test_an_unchanged_file_is_not_read_again(rig: Rig) -> None:
    rig.look()
    rig.look()
    assert rig.taken == []


def test_a_changed_file_is_applied_once(rig: Rig) -> None:
    rig.write("two")
    rig.look()
    rig.look()
    assert rig.taken == ["two"]


@pytest.mark.parametrize("spoil", [lambda rig: rig.write("bad"), lambda rig: rig.path.unlink()], ids=["bad", "gone"])
def test_a_bad_file_changes_nothing_and_is_logged_once(rig: Rig, spoil: Callable[[Rig], object]) -> None:
    spoil(rig)
    rig.look()
    rig.look()
    assert rig.taken == []
    assert rig.counters.value("reload_failures", "word") == 1
    rig.write("three")
    rig.look()
    assert rig.taken == ["three"]


def test_on_demand_it_is_read_at_once_changed_or_not(rig: Rig) -> None:
    rig.watched.reread()
    rig.clock.advance(0)
    rig.workers.run()
    assert rig.taken == ["one"]


def test_a_demand_while_it_is_read_is_not_forgotten(rig: Rig) -> None:
    rig.watched.reread()
    rig.clock.advance(0)
    rig.watched.reread()
    rig.workers.run()
    rig.clock.advance(0)
    rig.workers.run()
    assert rig.taken == ["one", "one"]


def test_there_is_never_more_than_one_look_under_way(rig: Rig) -> None:
    rig.clock.pump([POLL_INTERVAL] * 10)
    assert len(rig.workers) == 1


def test_a_change_while_it_was_read_for_the_first_time_is_seen(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "word")
    read, rig.watched._read = rig.watched._read, lambda: (rig.read(), rig.write("two"))[0]
    assert rig.watched.load() == "one"
    rig.watched._read = read
    rig.watched.startService()
    rig.look()
    assert rig.taken == ["two"]


def test_after_the_stop_nothing_is_looked_at(rig: Rig) -> None:
    rig.clock.advance(POLL_INTERVAL)
    rig.watched.stopService()
    rig.workers.run()
    assert rig.clock.getDelayedCalls() == []


def test_a_good_file_that_could_not_be_applied_is_read_again(rig: Rig) -> None:
    take, rig.watched._take = rig.watched._take, lambda word: str(1 / 0)
    rig.write("two")
    rig.look()
    assert rig.counters.value("loop_failures", "watch of word") == 1
    rig.watched._take = take
    rig.look()
    assert rig.taken == ["two"]
