"""Signals besides those that Twisted handles."""

import signal
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from audiohookd.runtime.signals import Signals


class Reactor(MemoryReactorClock):
    """One that does at once what comes from a thread."""

    def callFromThread(self, function: Callable[..., Any], *arguments: Any) -> None:
        function(*arguments)


class Process:
    """The handlers of a process, and how often it was told to hurry."""

    def __init__(self) -> None:
        self.handlers: dict[int, Callable[[int, Any], None]] = {}
        self.hurried = 0
        self.service = Signals(Reactor(), self.hurry, self.handlers.__setitem__)
        self.service.startService()

    def hurry(self) -> None:
        self.hurried += 1


@pytest.fixture
def process() -> Process:
    return Process()


def test_sighup_does_no_harm(process: Process) -> None:
    process.handlers[signal.SIGHUP](signal.SIGHUP, None)
    assert process.hurried == 0


def test_the_first_signal_is_twisteds_and_each_further_one_hurries(process: Process) -> None:
    assert set(process.handlers) == {signal.SIGHUP}
    process.service.stopService()
    assert set(process.handlers) == {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}
    process.handlers[signal.SIGTERM](signal.SIGTERM, None)
    process.handlers[signal.SIGINT](signal.SIGINT, None)
    assert process.hurried == 2
