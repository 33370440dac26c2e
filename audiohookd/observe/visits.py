"""Connections to the admin port: one question each, for some seconds, and not many at a time.

It is answered by the reactor that carries the calls. 2,700 questions that came in one read, from one client that took
no answer, had five calls wait for 6 s, and fail.
"""

from typing import Any, Final

from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolFactory, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

#: At a time; whoever comes then is turned away.
MOST: Final = 100
#: Seconds from the connection to its end, whatever is under way: the longest answers are some 100 KB.
LONGEST: Final = 30.0


class Visit(ProtocolWrapper):
    """One connection."""

    factory: "Visits"
    _end: IDelayedCall

    def makeConnection(self, transport: Any) -> None:
        """From now on it has its time."""
        self._end = self.factory.clock.callLater(LONGEST, transport.abortConnection)
        super().makeConnection(transport)

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """It is over."""
        if self._end.active():
            self._end.cancel()
        super().connectionLost(reason)


class Visits(WrappingFactory[Visit]):
    """``site``, asked by not too many at once."""

    protocol = Visit
    noisy = False

    def __init__(self, site: IProtocolFactory, clock: IReactorTime) -> None:
        super().__init__(site)
        self.clock = clock

    def logPrefix(self) -> str:
        """How the port calls itself in the log."""
        return "admin"

    def buildProtocol(self, addr: IAddress | None) -> Visit | None:  # type: ignore[override]
        """None: there are too many already."""
        return super().buildProtocol(addr) if len(self.protocols) < MOST else None
