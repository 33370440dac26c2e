"""Bounds how many bytes may wait to be sent to one client."""

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

#: Bytes that may wait for a client that does not read; with more, it is dropped. The transport holds 64 KiB more.
UNREAD_LIMIT = 1_048_576
#: The most bytes of a sent frame's header. It is counted, so that empty pongs are limited, too.
FRAME_HEADER = 10


@implementer(IPushProducer)
class SendBufferLimit:
    """Counts the bytes that wait for one client while its transport is paused."""

    def __init__(self) -> None:
        self._is_paused = False
        self._waiting = 0

    def exceeds(self, size: int) -> bool:
        """Counts a message of ``size`` bytes. True if more bytes wait than :data:`UNREAD_LIMIT`."""
        if self._is_paused:
            self._waiting += size + FRAME_HEADER
        return self._waiting > UNREAD_LIMIT

    def pauseProducing(self) -> None:
        """The transport's buffer is full: starts to count."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """The transport's buffer is empty: the client has read everything."""
        self._is_paused = False
        self._waiting = 0

    def stopProducing(self) -> None:
        """The connection is lost. There is nothing to stop."""
