"""Periodic work that survives what it raises, and the supervisor of it."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent

from audiohookd.observe.counters import Counters
from audiohookd.runtime.loops import CHECK_EVERY, STALL_PERIODS, SupervisedLoop, Supervisor

PERIOD = 10.0


class Work:
    """Turns of a loop, at their times; what they raise or return is the test's."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.counters = Counters()
        self.turns: list[float] = []
        self.act: Callable[[], Any] = lambda: None
        self.told: list[str | None] = []
        self.loop = SupervisedLoop(self.clock, "work", self.turn, PERIOD, self.counters.count, **options)
        self.supervisor = Supervisor(self.clock, [self.loop], self.counters.count, self.told.append)
        self.supervisor.startService()

    def turn(self) -> Any:
        self.turns.append(self.clock.seconds())
        return self.act()

    def fail(self) -> Any:
        raise OSError(11, "no thread")

    def wait(self, seconds: float) -> None:
        self.clock.pump([CHECK_EVERY / 2] * round(2 * seconds / CHECK_EVERY))


def texts(logged: list[LogEvent]) -> list[str]:
    return [f"{event['log_level'].name}: {formatEvent(event)}" for event in logged]


def test_a_turn_is_begun_each_period_until_the_stop() -> None:
    work = Work()
    work.loop.start()
    work.wait(25)
    assert work.turns == [10.0, 20.0]
    work.loop.stop()
    work.loop.stop()
    work.wait(60)
    assert work.turns == [10.0, 20.0]
    work.supervisor.stopService()
    assert work.clock.getDelayedCalls() == []


@pytest.mark.parametrize("fault", [OSError(11, "no thread"), SystemExit(1), KeyboardInterrupt(), CancelledError()])
def test_a_loop_survives_whatever_a_turn_raises(fault: BaseException, logged: list[LogEvent]) -> None:
    work = Work()

    def fail() -> None:
        raise fault

    work.act = fail
    work.loop.start()
    work.wait(20)
    work.act = lambda: None
    work.wait(10)
    assert work.turns == [10.0, 20.0, 30.0]
    assert work.counters.value("loop_failures", "work") == 2
    (line,) = texts(logged)
    assert line.startswith("error: work failed, and is tried again: ")


def test_a_mistake_of_the_program_is_logged_with_its_traceback(logged: list[LogEvent]) -> None:
    work = Work()
    work.act = lambda: 1 / 0
    work.loop.start()
    work.wait(20)
    (event,) = logged
    assert event["log_failure"].check(ZeroDivisionError)


def test_the_next_turn_waits_for_one_that_takes_longer() -> None:
    work = Work(limit=1000.0)
    slow: Deferred[None] = Deferred()
    work.act = lambda: slow
    work.loop.start(0)
    work.wait(45)
    assert work.turns == [0.5]
    slow.callback(None)
    work.wait(25)
    assert work.turns[1:] == [55.0, 65.0]


def test_the_next_turn_can_be_set_during_one_and_between_two() -> None:
    work = Work()
    work.act = lambda: work.loop.next_in(3.0)
    work.loop.start()
    work.wait(14)
    assert work.turns == [10.0, 13.0]
    work.loop.next_in(0.5)
    work.wait(1)
    assert work.turns == [10.0, 13.0, 14.5]


class TestOnDemand:
    def test_nothing_is_begun_without_a_demand(self) -> None:
        work = Work(on_demand=True)
        work.loop.start()
        work.wait(100)
        work.loop.next_in(2.0)
        work.wait(100)
        assert work.turns == [102.0]
        assert work.told == []

    def test_a_turn_that_failed_is_tried_again(self) -> None:
        work = Work(on_demand=True)
        work.act = work.fail
        work.loop.start()
        work.loop.run()
        work.wait(15)
        assert work.turns == [0.0, 10.0]
        work.act = lambda: None
        work.wait(100)
        assert work.turns == [0.0, 10.0, 20.0]

    def test_a_turn_that_is_asked_for_during_one_follows_it_at_once(self) -> None:
        work = Work(on_demand=True)
        first: Deferred[None] = Deferred()
        work.act = lambda: first
        work.loop.start()
        work.loop.run()
        work.loop.run()
        assert work.turns == [0.0]
        work.act = lambda: None
        first.callback(None)
        assert work.turns == [0.0, 0.0]


class TestTheSupervisor:
    def test_a_loop_that_turns_is_left_alone(self) -> None:
        work = Work()
        work.loop.start()
        work.wait(20 * PERIOD)
        assert work.told == []

    def test_a_loop_that_only_fails_makes_the_daemon_not_ready(self, logged: list[LogEvent]) -> None:
        work = Work()
        work.act = work.fail
        work.loop.start()
        work.wait(STALL_PERIODS * PERIOD + 2 * CHECK_EVERY)
        assert work.told == ["periodic work has stopped: work"]
        assert work.counters.value("loop_stalls", "work") == 1
        line = "error: work has not run for 30 s (no thread): the daemon is not ready until it does; "
        assert texts(logged)[1:] == [line + "it is started again"]
        work.wait(10 * PERIOD)
        assert work.counters.value("loop_stalls", "work") == 1
        work.act = lambda: None
        work.wait(PERIOD + 2 * CHECK_EVERY)
        assert work.told[1:] == [None]
        assert texts(logged)[-1].startswith("info: work runs again, after ")

    def test_a_turn_that_never_ends_is_cancelled_and_begun_again(self) -> None:
        work = Work()
        given_up: list[Any] = []
        work.act = lambda: Deferred(given_up.append)
        work.loop.start()
        work.wait(PERIOD + STALL_PERIODS * PERIOD + CHECK_EVERY)
        assert work.told == ["periodic work has stopped: work"]
        assert (len(work.turns), len(given_up)) == (2, 1)
        work.act = lambda: None
        work.wait(STALL_PERIODS * PERIOD + 2 * CHECK_EVERY)
        assert work.told[1:] == [None]
        work.wait(2 * PERIOD)
        assert len(work.turns) >= 4

    def test_work_that_must_not_be_done_twice_is_waited_for(self, logged: list[LogEvent]) -> None:
        work = Work(on_demand=True)
        slow: Deferred[None] = Deferred()
        work.act = lambda: slow
        work.loop.start()
        work.loop.run()
        work.wait(10 * PERIOD)
        assert len(work.turns) == 1
        assert work.told == ["periodic work has stopped: work"]
        assert texts(logged)[0].endswith("its last turn hangs, and is waited for")
        slow.callback(None)
        work.wait(2 * CHECK_EVERY)
        assert work.told[1:] == [None]

    def test_a_turn_may_take_its_limit_and_longer_while_it_makes_progress(self) -> None:
        work = Work(limit=100.0)
        work.act = Deferred
        work.loop.start()
        for _ in range(5):
            work.wait(95)
            work.loop.touch()
        assert work.told == []
        work.wait(102)
        assert work.told == ["periodic work has stopped: work"]

    def test_a_timer_that_was_lost_is_set_again(self) -> None:
        work = Work()
        work.loop.start()
        for call in work.clock.getDelayedCalls():
            if call.func == work.loop.run:  # type: ignore[attr-defined]
                call.cancel()
        work.wait(STALL_PERIODS * PERIOD + 2 * CHECK_EVERY)
        assert work.turns
        assert work.told == ["periodic work has stopped: work", None]

    def test_a_pause_of_the_whole_process_is_no_fault_of_its_loops(self) -> None:
        work = Work()
        work.loop.start()
        work.wait(15)
        work.clock.rightNow += 1000.0
        work.wait(5 * PERIOD)
        assert work.told == []
