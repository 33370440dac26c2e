"""All calls of one command: when they begin, how they are ended, and when it is over. START READING HERE."""

import random
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred


class Call(Protocol):
    """A call under way."""

    def hang_up(self) -> None:
        """Ends it politely."""

    def abort(self) -> None:
        """Ends it at once."""


#: Begins a call; calls back once, when it is over, which may be before it returns.
Dial = Callable[[Callable[[], None]], Call]


class CallScheduler:
    """Begins calls at random moments, as strangers would (a Poisson process), the first one at once.

    :param rate: calls begun per second, on average.
    :param clock: IReactorTime.
    """

    def __init__(self, clock: Any, dial: Dial, calls: int, rate: float, chance: random.Random) -> None:
        self._clock = clock
        self._dial = dial
        self._to_begin = calls
        self._rate = rate
        self._chance = chance
        self._legs: dict[int, Call] = {}
        self._running: set[int] = set()
        self._next: Any = None
        self._is_interrupted = False
        #: Fires with None when all calls are over.
        self.done: Deferred[None] = Deferred()

    def begin(self) -> None:
        """Begins the next call, and sees to the ones after it."""
        self._next = None
        self._to_begin -= 1
        if self._to_begin:
            self._next = self._clock.callLater(self._chance.expovariate(self._rate), self.begin)
        number = self._to_begin
        self._running.add(number)
        leg = self._dial(lambda: self._over(number))
        if number in self._running:
            self._legs[number] = leg

    def interrupt(self) -> None:
        """Begins no more calls, and ends those under way: politely the first time, at once after that."""
        self._to_begin = 0
        if self._next is not None:
            self._next.cancel()
            self._next = None
        for leg in list(self._legs.values()):
            if self._is_interrupted:
                leg.abort()
            else:
                leg.hang_up()
        self._is_interrupted = True
        self._finish()

    def _over(self, number: int) -> None:
        self._running.discard(number)
        self._legs.pop(number, None)
        self._finish()

    def _finish(self) -> None:
        if not self._to_begin and not self._running and not self.done.called:
            self.done.callback(None)
