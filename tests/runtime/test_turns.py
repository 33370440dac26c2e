"""Turns of the reactor, from the return of its poll to its next poll."""

import select
from collections.abc import Callable
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.internet.epollreactor import EPollReactor

from audiohookd.runtime.turns import KEPT_TURNS, TurnTimer


class Poller:
    """Waits for as long as it is to, in invented time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[tuple[object, ...]] = []
        self.during: Callable[[], object] = lambda: None
        self.register = self.modify = self.unregister = lambda *_: None

    def poll(self, timeout: float, most: int) -> list[Any]:
        self.asked.append((timeout, most))
        self.during()
        self.now += timeout
        return []


@pytest.fixture
def poller() -> Poller:
    return Poller()


@pytest.fixture
def timer(poller: Poller) -> TurnTimer:
    timer = TurnTimer(SimpleNamespace(_poller=poller, seconds=lambda: poller.now), 0.1)
    timer.start()
    return timer


def turn(timer: TurnTimer, poller: Poller, seconds: float) -> None:
    timer.poll(1, 2)
    poller.now += seconds


def test_turns_over_the_limit_are_kept_until_they_are_taken(timer: TurnTimer, poller: Poller) -> None:
    turn(timer, poller, 0.05)
    turn(timer, poller, 0.25)
    timer.poll(1, 2)
    assert timer.take_ended() == [(pytest.approx(2.05), pytest.approx(2.3))]
    assert timer.take_ended() == []
    assert poller.asked == [(1, 2)] * 3


def test_the_oldest_are_forgotten_when_there_are_too_many(timer: TurnTimer, poller: Poller) -> None:
    for _ in range(2 * KEPT_TURNS):
        turn(timer, poller, 0.2)
    assert len(timer.take_ended()) == KEPT_TURNS


def test_the_start_is_no_turn_that_is_kept(timer: TurnTimer, poller: Poller) -> None:
    assert (timer.began, timer.is_starting) == (0.0, True)
    poller.now += 5
    timer.poll(1, 2)
    assert timer.take_ended() == []
    assert not timer.is_starting


def test_a_reactor_that_waits_is_in_no_turn(timer: TurnTimer, poller: Poller) -> None:
    seen: list[float | None] = []
    poller.during = lambda: seen.append(timer.began)
    timer.poll(1, 2)
    assert seen == [None]
    assert timer.began == 1.0


def test_a_poll_that_is_interrupted_begins_a_turn(timer: TurnTimer, poller: Poller) -> None:
    def interrupt() -> None:
        raise InterruptedError

    poller.during = interrupt
    with pytest.raises(InterruptedError):
        timer.poll(1, 2)
    assert timer.began == 0.0


def test_a_thread_waits_until_a_turn_begins_and_not_during_one(timer: TurnTimer, poller: Poller) -> None:
    done: list[float | None] = []

    def wait() -> None:
        timer.wait(30)
        done.append(timer.began)

    timer.wait(30)  # during the turn of the start
    thread = Thread(target=wait)
    poller.during = thread.start
    timer.poll(1, 2)
    thread.join(30)
    assert done == [1.0]


def test_a_thread_that_waits_is_woken_by_the_stop(timer: TurnTimer, poller: Poller) -> None:
    thread = Thread(target=timer.wait, args=(30,))

    def stop() -> None:
        thread.start()
        timer.stop()

    poller.during = stop
    timer.poll(1, 2)
    thread.join(10)
    assert not thread.is_alive()


def test_a_real_reactor_runs_with_it_and_gets_its_poller_back() -> None:
    reactor = EPollReactor()
    timer = TurnTimer(reactor, 0.1)
    timer.start()
    turned: list[float | None] = []
    reactor.callLater(0, lambda: turned.append(timer.began))
    reactor.callLater(0.01, timer.stop)
    reactor.callLater(0.02, reactor.stop)
    reactor.run(installSignalHandlers=False)
    assert turned[0] is not None
    assert timer.began is None
    assert isinstance(reactor._poller, select.epoll)


def test_a_reactor_without_a_poller_is_not_supported() -> None:
    assert not TurnTimer(SimpleNamespace(seconds=lambda: 0.0), 0.1).is_supported
