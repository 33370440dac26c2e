"""Bounds how many bytes may wait to be sent to one client."""

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

#: Bytes that may wait for a client that does not read; with more, it is dropped. 64 KiB more wait in the transport.
UNREAD_LIMIT = 1_048_576
#: Bytes that the header of a frame of ours takes at most: an empty pong is not for nothing.
FRAME_HEADER = 10


@implementer(IPushProducer)
class SendBufferLimit:
    """Bounds how many bytes may wait to be sent to one client."""

    def __init__(self) -> None:
        self._clogged = False
        self._waiting = 0

    def exceeds(self, size: int) -> bool:
        """Bounds how many bytes may wait to be sent to one client."""
        if self._clogged:
            self._waiting += size + FRAME_HEADER
        return self._waiting > UNREAD_LIMIT

    def pauseProducing(self) -> None:
        """Bounds how many bytes may wait to be sent to one client."""
        self._clogged = True

    def resumeProducing(self) -> None:
        """Bounds how many bytes may wait to be sent to one client."""
        self._clogged = False
        self._waiting = 0

    def stopProducing(self) -> None:
        """Bounds how many bytes may wait to be sent to one client."""
