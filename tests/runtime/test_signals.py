"""Signals that Twisted does not handle."""

import signal
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from audiohookd.runtime.signals import EXIT_AFTER, Signals


class Reactor(MemoryReactorClock):
    """One that does at once what comes from a thread."""

    def callFromThread(self, function: Callable[..., Any], *arguments: Any) -> None:
        function(*arguments)


class Process:
    """The signal handlers of a process, and the number of calls of ``hurry``."""

    def __init__(self) -> None:
        self.handlers: dict[int, Callable[[int, Any], None]] = {}
        self.hurried = 0
        self.read: list[str] = []
        reread = [lambda: self.read.append("keys"), lambda: self.read.append("certificates")]
        self.alarms: list[float] = []
        self.reactor = Reactor()
        self.service = Signals(
            self.reactor, self.hurry, self.handlers.__setitem__, reread, self.alarms.append, self.handlers.get
        )
        self.service.startService()

    def run(self, *ending: signal.Signals) -> list[int]:
        """The reactor runs, and has handlers of its own for ``ending``. Returns the signals that these get."""
        ended: list[int] = []
        for number in ending:
            self.handlers[number] = lambda number, frame: ended.append(number)
        for function, arguments, options in self.reactor.whenRunningHooks:
            function(*arguments, **options)
        return ended

    def hurry(self) -> None:
        self.hurried += 1


@pytest.fixture
def process() -> Process:
    return Process()


def test_sighup_has_everything_read_again_and_does_no_harm(process: Process) -> None:
    assert process.read == []
    for number in (1, 2):
        process.handlers[signal.SIGHUP](signal.SIGHUP, None)
        assert process.read == ["keys", "certificates"] * number
    assert process.hurried == 0


def test_the_first_signal_is_twisteds_and_each_further_one_hurries(process: Process) -> None:
    assert set(process.handlers) == {signal.SIGHUP}
    process.service.stopService()
    assert set(process.handlers) == {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}
    process.handlers[signal.SIGTERM](signal.SIGTERM, None)
    process.handlers[signal.SIGINT](signal.SIGINT, None)
    assert process.hurried == 2
    assert process.alarms == [EXIT_AFTER] * 2
    assert signal.SIGALRM in process.handlers


def test_a_second_signal_ends_a_reactor_that_is_blocked_before_its_stop(process: Process) -> None:
    ended = process.run(signal.SIGINT, signal.SIGTERM)
    process.handlers[signal.SIGTERM](signal.SIGTERM, None)
    assert (ended, process.alarms) == ([signal.SIGTERM], [])
    process.handlers[signal.SIGINT](signal.SIGINT, None)
    assert (ended, process.alarms) == ([signal.SIGTERM], [EXIT_AFTER])
    assert signal.SIGALRM in process.handlers


def test_a_signal_that_comes_twice_before_the_stop_begins_ends_no_wait(process: Process) -> None:
    process.run(signal.SIGTERM)
    for _ in range(2):
        process.handlers[signal.SIGTERM](signal.SIGTERM, None)
    process.service.stopService()
    assert process.alarms == [EXIT_AFTER, 0.0]
    assert process.hurried == 0


def test_a_signal_that_is_ignored_stays_so(process: Process) -> None:
    process.handlers[signal.SIGINT] = signal.SIG_IGN  # type: ignore[assignment]
    process.run(signal.SIGTERM)
    assert process.handlers[signal.SIGINT] is signal.SIG_IGN


def test_sighup_is_harmless_before_anything_has_started() -> None:
    handlers: dict[int, Callable[[int, Any], None]] = {}
    Signals(Reactor(), lambda: None, handlers.__setitem__).privilegedStartService()
    assert set(handlers) == {signal.SIGHUP}
