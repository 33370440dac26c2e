"""Connections to the admin port: one question each, for some seconds, not many at a time, and not many per second.

It is answered by the reactor that carries the calls. 2,700 questions that came in one read, from one client that took
no answer, had five calls wait for 6 s, and fail. 90 clients that asked again and again, 1,200 times per second in
sum, made ``opened`` 0.18 to 0.32 s late (p99).
"""

from typing import Any, Final

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolFactory, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

#: At a time; whoever comes then is turned away.
MOST: Final = 100
#: Seconds from the connection to its end, whatever is under way: the longest answers are some 100 KB.
LONGEST: Final = 30.0
#: Seconds from one request to the next that is read, once ``BURST`` requests have come at once.
INTERVAL: Final = 0.01
BURST: Final = 50


class Visit(ProtocolWrapper):
    """One connection."""

    factory: "Visits"
    _timers: tuple[IDelayedCall, ...]

    def makeConnection(self, transport: Any) -> None:
        """From now on it has its time; what it asks is read in its turn."""
        self._timers = (self.factory.clock.callLater(LONGEST, transport.abortConnection),)
        super().makeConnection(transport)
        if delay := self.factory.delay():
            transport.pauseProducing()
            self._timers += (self.factory.clock.callLater(delay, transport.resumeProducing),)

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """It is over."""
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        super().connectionLost(reason)


class Visits(WrappingFactory[Visit]):
    """``site``, asked by not too many at once."""

    protocol = Visit
    noisy = False

    def __init__(self, site: IProtocolFactory, clock: IReactorTime) -> None:
        super().__init__(site)
        self.clock = clock
        self._turn = -float("inf")

    def delay(self) -> float:
        """Seconds that the next connection waits until its request is read; each call takes a turn."""
        now = self.clock.seconds()
        self._turn = max(self._turn, now - BURST * INTERVAL) + INTERVAL
        delay = self._turn - now
        return delay if delay > INTERVAL / 2 else 0.0  # what is left of rounding needs no timer

    def logPrefix(self) -> str:
        """How the port calls itself in the log."""
        return "admin"

    def buildProtocol(self, addr: IAddress | None) -> Visit | None:  # type: ignore[override]
        """None: there are too many already."""
        return super().buildProtocol(addr) if len(self.protocols) < MOST else None
