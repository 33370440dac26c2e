"""Reads from open connections together, a few milliseconds apart, and not each time that one of them has something.

To wake up costs more than a frame: right after it nothing of the program is in the processor's caches. So when
something came in, the rest of what comes in the next milliseconds is awaited. Each connection is still read by its
own transport of Twisted's; what is not there is Twisted's logging context around each read, and its turn of the
reactor.
"""

import select
from typing import Any, Final

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

#: Seconds between two looks at the connections, while there is something each time: as many as it takes until about
#: ``ENOUGH`` of them have something. A caller waits for 5 s for its ``pong``, and a frame is 20 ms or more; but where
#: much comes in a look takes time, too: with 4 ms, at half a processor, one pong in a hundred took more than 10 ms.
SHORTEST: Final = 0.003
LONGEST: Final = 0.008
ENOUGH: Final = 20
#: No file has this number.
NOBODY: Final = -1


@implementer(IReadDescriptor)
class Ears:
    """For the reactor thread.

    :param reactor: with epoll; and its clock.
    """

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._epoll = select.epoll()
        self._transports: dict[int, Connection] = {}
        self._is_resting = False
        self._rest = SHORTEST
        self._heard = NOBODY  # whom we are listening to just now
        self._is_answered = False

    def attend(self, transport: Any) -> int | None:
        """From now on ``transport`` is read from here; returns what :meth:`forget` wants.

        None when it is none with a socket of its own: it is read by the reactor, as ever.
        """
        while isinstance(transport, ProtocolWrapper):
            transport = transport.transport
        if not isinstance(transport, Connection):
            return None
        file = transport.fileno()
        transport.stopReading()
        self._epoll.register(file, select.EPOLLIN)
        self._transports[file] = transport
        self._wait()
        return file

    def forget(self, file: int) -> None:
        """The connection is gone, and its socket closed, which takes it out of the epoll."""
        self._transports.pop(file, None)
        if not self._transports:
            self._reactor.removeReader(self)

    def hasten(self, file: int) -> None:
        """Something was written to the connection. When that answers what it said just now, it is sent at once.

        Left to the reactor, an answer takes a turn of that, which costs as much as a frame, and waits for it.
        """
        self._is_answered = self._is_answered or file == self._heard

    # ---- IReadDescriptor -------------------------------------------------------------------------

    def fileno(self) -> int:
        """An epoll can be read when something in it can."""
        return self._epoll.fileno()

    def logPrefix(self) -> str:
        """How it calls itself in the log."""
        return "ears"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has stopped."""

    def doRead(self) -> None:
        """Something came in while nothing was awaited."""
        self._reactor.removeReader(self)
        self._listen()

    # ---- listening -------------------------------------------------------------------------------

    def _wait(self) -> None:
        if self._transports and not self._is_resting:
            self._reactor.addReader(self)

    def _listen(self) -> None:
        self._is_resting = True  # who joins meanwhile is waited for afterwards
        has_heard = True  # whatever goes wrong: the calls that are there must be read on
        try:
            has_heard = self._read_all()
        finally:
            self._is_resting = has_heard
            if has_heard:
                self._reactor.callLater(self._rest, self._listen)
            else:
                self._wait()

    def _read_all(self) -> bool:
        """Each that has something, once. False when none had."""
        ready = self._epoll.poll(0)
        for file, _ in ready:
            transport = self._transports.get(file)
            if transport is not None:  # one of those before may have had it dropped
                self._read(file, transport)
        if ready:
            self._rest = min(LONGEST, max(SHORTEST, self._rest * ENOUGH / len(ready)))
        return bool(ready)

    def _read(self, file: int, transport: Connection) -> None:
        self._heard, self._is_answered = file, False
        try:
            if transport.disconnecting or transport.doRead() is not None:
                self._hand_back(file, transport)
            elif self._is_answered and file in self._transports and not transport.disconnecting:
                transport.doWrite()  # what cannot be sent is left to the reactor, and so is a fault
        except BaseException:  # as the reactor does: it costs one connection, and not all of them their ears
            self._log.failure("a connection could not be read")
            transport.abortConnection()
        self._heard = NOBODY

    def _hand_back(self, file: int, transport: Connection) -> None:
        """It has come to its end, or will. That is the reactor's business, which will see what the matter is."""
        if self._transports.get(file) is not transport:
            return
        self.forget(file)
        self._epoll.unregister(file)
        if not transport.disconnecting:
            transport.startReading()
