"""Limits the connections to the admin port: their number, rate and duration, and one request each.

The admin port shares the reactor with the calls. 2,700 requests in one read, from a client that read no answer,
delayed five calls by 6 s, and they failed. 90 clients with 1,200 requests per second in total delayed ``opened`` by
0.18 to 0.32 s (p99).
"""

from typing import Any, Final

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolFactory, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

#: The most connections at a time; further ones are rejected.
MAX_CONNECTIONS: Final = 100
#: Seconds after which a connection is dropped. The longest answers have some 100 KB.
MAX_DURATION: Final = 30.0
#: Seconds between two requests, after ``BURST`` requests at once.
INTERVAL: Final = 0.01
BURST: Final = 50


class AdminConnection(ProtocolWrapper):
    """A connection that is delayed by the rate limit and dropped after :data:`MAX_DURATION`."""

    factory: "AdminConnections"
    _timers: tuple[IDelayedCall, ...]

    def makeConnection(self, transport: Any) -> None:
        """Starts the time-out, and delays reading by the rate limit."""
        self._timers = (self.factory.clock.callLater(MAX_DURATION, transport.abortConnection),)
        super().makeConnection(transport)
        if delay := self.factory.delay():
            transport.pauseProducing()
            self._timers += (self.factory.clock.callLater(delay, transport.resumeProducing),)

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """Cancels the timers."""
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        super().connectionLost(reason)


class AdminConnections(WrappingFactory[AdminConnection]):
    """Wraps ``site`` with limits of connections and requests."""

    protocol = AdminConnection
    noisy = False

    def __init__(self, site: IProtocolFactory, clock: IReactorTime) -> None:
        super().__init__(site)
        self.clock = clock
        self._turn = -float("inf")

    def delay(self) -> float:
        """Seconds to delay the request of the next connection. Each call counts one request."""
        now = self.clock.seconds()
        self._turn = max(self._turn, now - BURST * INTERVAL) + INTERVAL
        delay = self._turn - now
        return delay if delay > INTERVAL / 2 else 0.0  # a rounding error needs no timer

    def logPrefix(self) -> str:
        """The prefix of its log lines."""
        return "admin"

    def buildProtocol(self, addr: IAddress | None) -> AdminConnection | None:  # type: ignore[override]
        """Builds a connection; None, which rejects it, at :data:`MAX_CONNECTIONS`."""
        return super().buildProtocol(addr) if len(self.protocols) < MAX_CONNECTIONS else None
