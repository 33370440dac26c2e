"""The schedule of calls: when they start and end."""

import random
from collections.abc import Callable

from twisted.internet.task import Clock

from audiohookd.cli.call.execution import CallScheduler


class Switchboard:
    """Records the calls that were started, and ends them on request of the test."""

    def __init__(self, ends_at_once: bool = False) -> None:
        self.clock = Clock()
        self.begun_at: list[float] = []
        self.orders: list[str] = []
        self.over: list[Callable[[], None]] = []
        self._ends_at_once = ends_at_once

    def dial(self, over: Callable[[], None]) -> "Switchboard":
        self.begun_at.append(self.clock.seconds())
        self.over.append(over)
        if self._ends_at_once:
            over()
        return self

    def hang_up(self) -> None:
        self.orders.append("hang up")

    def abort(self) -> None:
        self.orders.append("abort")

    def scheduler(self, calls: int, rate: float = 50.0) -> CallScheduler:
        scheduler = CallScheduler(self.clock, self.dial, calls, rate, random.Random(7))
        scheduler.begin()
        return scheduler

    def end(self) -> None:
        while self.over:
            self.over.pop()()


def test_the_first_call_begins_at_once() -> None:
    board = Switchboard()
    board.scheduler(5)
    assert board.begun_at == [0]


def test_arrivals_are_a_poisson_process() -> None:
    board = Switchboard()
    board.scheduler(2001, rate=50)
    for _ in range(60_000):
        board.clock.advance(0.001)
    gaps = [later - one for one, later in zip(board.begun_at, board.begun_at[1:], strict=False)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert len(gaps) == 2000
    assert 0.018 < mean < 0.022
    assert 0.9 < deviation / mean < 1.1  # 1 for the exponential distribution, 0 for a metronome


def test_the_scheduler_is_done_when_all_calls_have_ended() -> None:
    board = Switchboard()
    scheduler = board.scheduler(2, rate=1)
    board.end()
    assert not scheduler.done.called
    board.clock.advance(60)
    assert len(board.begun_at) == 2
    assert not scheduler.done.called
    board.end()
    assert scheduler.done.called


def test_a_call_may_be_over_before_it_has_begun() -> None:
    board = Switchboard(ends_at_once=True)
    scheduler = board.scheduler(3)
    board.clock.advance(1)
    board.clock.advance(1)
    assert scheduler.done.called
    scheduler.interrupt()
    assert board.orders == []


def test_an_interruption_begins_no_more_and_hangs_up() -> None:
    board = Switchboard()
    scheduler = board.scheduler(5, rate=1)
    scheduler.interrupt()
    board.clock.advance(100)
    assert board.begun_at == [0]
    assert board.orders == ["hang up"]
    assert not scheduler.done.called
    board.end()
    assert scheduler.done.called


def test_the_second_interruption_does_not_wait() -> None:
    board = Switchboard()
    scheduler = board.scheduler(1)
    scheduler.interrupt()
    scheduler.interrupt()
    assert board.orders == ["hang up", "abort"]


def test_an_interruption_between_two_calls_is_the_end() -> None:
    board = Switchboard()
    scheduler = board.scheduler(2, rate=0.001)
    board.end()
    scheduler.interrupt()
    assert scheduler.done.called
    assert board.clock.getDelayedCalls() == []
