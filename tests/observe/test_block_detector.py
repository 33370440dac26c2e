"""The block detector finds the cause of a blocked reactor."""

from types import FrameType, SimpleNamespace
from typing import cast

import pytest

from audiohookd.observe.blocks import LIMIT, PERIOD, STARTING_AFTER, Block, BlockDetector
from audiohookd.observe.culprits import COLLECTOR, DAEMON, PROCESS, UNKNOWN, Culprit
from audiohookd.runtime.processor_time import Usage

REACTOR, WATCHDOG, WORKER = 1, 2, 3


class Site:
    """A reactor that works or waits, and its watchdog, in invented time."""

    def __init__(self) -> None:
        self.began: float | None = None
        self.is_starting = False
        self.ended: list[tuple[float, float]] = []
        self.now = 0.0
        self.cpu = {REACTOR: 0.0, WATCHDOG: 0.0, WORKER: 0.0}
        self.delay = self.own_delay = self.collecting = 0.0
        self.doing = {REACTOR: Culprit("evil", "opened", "sleep"), WORKER: Culprit("worse", "", "match")}
        self.found: list[Block] = []
        self.when_sampled = lambda: None
        threads = REACTOR, WATCHDOG
        self.detector = BlockDetector(self, threads, self._stacks, self._culprit_of, self.now, self.usage)

    def _stacks(self) -> dict[int, FrameType]:
        return {thread: cast("FrameType", SimpleNamespace(thread=thread)) for thread in self.doing}

    def _culprit_of(self, frame: FrameType | None) -> Culprit:
        self.when_sampled()
        return self.doing[frame.thread] if frame is not None else Culprit(UNKNOWN)  # type: ignore[attr-defined]

    def take_ended(self) -> list[tuple[float, float]]:
        ended, self.ended = self.ended, []
        return ended

    @property
    def usage(self) -> Usage:
        return Usage(sum(self.cpu.values()), dict(self.cpu), self.delay, self.own_delay, self.collecting)

    def look(self, seconds: float = PERIOD) -> None:
        self.now += seconds
        self.found += self.detector.look(self.now, self.usage)

    def begin(self) -> None:
        self.began = self.now

    def end(self) -> None:
        assert self.began is not None
        if self.now - self.began >= LIMIT:
            self.ended.append((self.began, self.now))
        self.began = None

    def labels(self) -> list[tuple[str, float]]:
        return [(block.label, round(block.seconds, 3)) for block in self.found]


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_callback_that_sleeps_is_its_plugins(site: Site) -> None:
    site.begin()
    for _ in range(6):
        site.look()
    site.end()
    site.look()
    assert site.labels() == [("evil", 0.3)]
    assert site.found[0].culprit == Culprit("evil", "opened", "sleep")


@pytest.mark.parametrize("before", [0.001, 0.01, 0.025, 0.04, 0.049])
def test_the_shortest_block_has_a_stack_wherever_the_looks_are(site: Site, before: float) -> None:
    site.look(before)
    site.begin()
    site.look(PERIOD - before)
    site.look()
    if (rest := LIMIT + 0.001 - (2 * PERIOD - before)) > PERIOD:
        site.look()
        rest -= PERIOD
    site.now += rest
    site.end()
    site.look(PERIOD - rest)
    assert site.labels() == [("evil", 0.101)]


def test_a_turn_of_less_is_none(site: Site) -> None:
    site.begin()
    site.look()
    site.look(0.04)
    site.end()
    site.look()
    assert site.found == []


def test_a_reactor_that_waits_is_not_blocked(site: Site) -> None:
    for _ in range(100):
        site.look()
    assert site.found == []


def test_it_is_what_took_most_of_the_turn(site: Site) -> None:
    site.begin()
    site.look()
    for _ in range(3):
        site.doing[REACTOR] = Culprit(DAEMON, "", "loads")
        site.look()
    site.doing[REACTOR] = Culprit("evil", "opened", "sleep")
    site.look()
    site.end()
    site.look()
    assert site.labels() == [(DAEMON, 0.25)]


def test_a_call_that_holds_the_interpreter_is_found_at_its_end(site: Site) -> None:
    site.look()
    site.begin()
    site.cpu[REACTOR] += 0.3
    site.look(0.3)
    site.end()
    site.look()
    assert site.labels() == [("evil", 0.3)]
    assert site.found[0].processor == pytest.approx(0.3)


def test_a_block_that_ends_before_the_first_look_has_no_stack(site: Site) -> None:
    site.look()
    site.begin()
    site.cpu[REACTOR] += 0.3
    site.now += 0.3
    site.end()
    site.look(0.001)
    assert site.labels() == [(UNKNOWN, 0.3)]


def test_a_stack_of_the_next_turn_does_not_count(site: Site) -> None:
    def move_on() -> None:
        site.end()
        site.begin()

    site.look()
    site.begin()
    site.cpu[REACTOR] += 0.2
    site.when_sampled = move_on
    site.look(0.2)
    site.when_sampled = lambda: None
    site.look(0.01)
    assert site.labels() == [(UNKNOWN, 0.2)]


def test_a_watchdog_that_rests_is_not_late(site: Site) -> None:
    site.now += 1
    site.found += site.detector.look(site.now, site.usage, 1.0)
    assert site.found == []
    site.now += 3
    site.found += site.detector.look(site.now, site.usage, 1.0)
    assert site.labels() == [(PROCESS, 2.0)]


class TestAStopOfTheProcess:
    def test_while_the_reactor_waits_is_no_plugins(self, site: Site) -> None:
        site.look(3)
        assert site.labels() == [(PROCESS, 2.95)]

    def test_during_a_turn_is_no_plugins(self, site: Site) -> None:
        site.begin()
        site.look(3)
        site.end()
        site.look()
        assert site.labels() == [(PROCESS, 3.0)]

    def test_a_stop_is_subtracted_from_the_block_of_a_plugin(self, site: Site) -> None:
        site.begin()
        for _ in range(4):
            site.look()
        site.look(3)
        site.end()
        site.look()
        assert site.labels() == [("evil", 0.25), (PROCESS, 2.95)]

    def test_before_a_turn_does_not_make_that_longer(self, site: Site) -> None:
        site.now += 2.98
        site.begin()
        site.look(0.02)
        site.look()
        site.end()
        site.look()
        assert site.labels() == [(PROCESS, 2.93)]


class TestAMachineWithTooMuchToDo:
    def test_a_busy_machine_is_not_attributed_to_a_plugin(self, site: Site) -> None:
        site.begin()
        for _ in range(6):
            site.delay += 0.045
            site.cpu[REACTOR] += 0.005
            site.look()
        site.end()
        site.look()
        assert site.labels() == [(PROCESS, 0.3)]

    def test_a_delay_of_only_the_watchdog_is_no_block(self, site: Site) -> None:
        site.own_delay += 0.3
        site.look(0.3)
        assert site.found == []


class TestAnotherThread:
    def test_that_holds_the_interpreter_is_named_while_the_reactor_waits(self, site: Site) -> None:
        site.cpu[WORKER] += 0.3
        site.look(0.35)
        assert site.labels() == [("worse", 0.3)]
        assert site.found[0].thread == WORKER

    def test_that_holds_the_interpreter_is_named_in_place_of_what_the_reactor_did(self, site: Site) -> None:
        site.begin()
        site.cpu[WORKER] += 0.3
        site.look(0.35)
        site.end()
        site.look()
        assert site.labels() == [("worse", 0.3)]

    def test_that_only_computes_beside_it_is_no_block(self, site: Site) -> None:
        for _ in range(20):
            site.cpu[WORKER] += PERIOD
            site.look()
        assert site.found == []


def test_the_garbage_collector_is_no_plugin(site: Site) -> None:
    site.begin()
    site.look()
    site.cpu[REACTOR] += 0.3
    site.collecting += 0.25
    site.look(0.3)
    site.end()
    site.look()
    assert site.labels() == [(COLLECTOR, 0.35)]


def test_a_block_that_goes_on_is_told_of_at_growing_intervals(site: Site) -> None:
    site.begin()
    for _ in range(int(300 / PERIOD)):
        site.look()
    assert all(not block.is_over for block in site.found)
    assert [round(seconds) for _, seconds in site.labels()] == [1, 2, 4, 8, 16, 32, 64, 124, 184, 244]


def test_a_start_that_takes_long_is_told_of_later_and_is_no_block(site: Site) -> None:
    site.is_starting = True
    site.begin()
    for _ in range(int((STARTING_AFTER + 1) / PERIOD)):
        site.look()
    site.began, site.is_starting = None, False
    site.look()
    assert [(block.is_over, round(block.seconds)) for block in site.found] == [(False, 10)]
