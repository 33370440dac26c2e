"""What waits to be sent to one client, and what lies below a connection."""

from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.protocols.policies import ProtocolWrapper
from zope.interface import implementer

#: Bytes that may wait for a client that does not read; with more, it is dropped. 64 KiB more wait in the transport.
UNREAD_LIMIT = 1_048_576
#: Bytes that the header of a frame of ours takes at most: an empty pong is not for nothing.
FRAME_HEADER = 10


@implementer(IPushProducer)
class Outbox:
    """Counts what is sent while the transport's buffer is full."""

    def __init__(self) -> None:
        self._clogged = False
        self._waiting = 0

    def is_too_much(self, size: int) -> bool:
        """``size`` bytes more are to be sent: would that be beyond the limit?"""
        if self._clogged:
            self._waiting += size + FRAME_HEADER
        return self._waiting > UNREAD_LIMIT

    def pauseProducing(self) -> None:
        """The transport holds more than it likes."""
        self._clogged = True

    def resumeProducing(self) -> None:
        """The transport has sent everything."""
        self._clogged = False
        self._waiting = 0

    def stopProducing(self) -> None:
        """The connection is gone."""


def innermost(transport: Any) -> Any:
    """Below TLS and the PROXY protocol."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport
