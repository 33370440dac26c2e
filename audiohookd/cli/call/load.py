"""Schedules the calls of one command: starts them, ends them, and knows when all have ended. START READING HERE."""

import random
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred


class Call(Protocol):
    """A call in progress."""

    def hang_up(self) -> None:
        """Ends the call with ``close``."""

    def abort(self) -> None:
        """Drops the connection at once."""


#: Starts a call. Its argument is called once when the call ends, which may be before the start returns.
Dial = Callable[[Callable[[], None]], Call]


class CallScheduler:
    """Starts the first call at once, and the others at random times (a Poisson process), as independent callers do.

    :param rate: calls started per second, on average.
    :param clock: IReactorTime.
    """

    def __init__(self, clock: Any, dial: Dial, calls: int, rate: float, rng: random.Random) -> None:
        self._clock = clock
        self._dial = dial
        self._to_begin = calls
        self._rate = rate
        self._rng = rng
        self._calls: dict[int, Call] = {}
        self._running: set[int] = set()
        self._next: Any = None
        self._is_interrupted = False
        #: Fires with None when all calls have ended.
        self.done: Deferred[None] = Deferred()

    def begin(self) -> None:
        """Starts the next call, and schedules the one after it."""
        self._next = None
        self._to_begin -= 1
        if self._to_begin:
            self._next = self._clock.callLater(self._rng.expovariate(self._rate), self.begin)
        number = self._to_begin
        self._running.add(number)
        call = self._dial(lambda: self._ended(number))
        if number in self._running:
            self._calls[number] = call

    def interrupt(self) -> None:
        """Starts no more calls. Ends the calls in progress with ``close``; aborts them if called a second time."""
        self._to_begin = 0
        if self._next is not None:
            self._next.cancel()
            self._next = None
        for call in list(self._calls.values()):
            if self._is_interrupted:
                call.abort()
            else:
                call.hang_up()
        self._is_interrupted = True
        self._finish()

    def _ended(self, number: int) -> None:
        self._running.discard(number)
        self._calls.pop(number, None)
        self._finish()

    def _finish(self) -> None:
        if not self._to_begin and not self._running and not self.done.called:
            self.done.callback(None)
