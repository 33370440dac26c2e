"""Times the turns of the reactor: from the return of its poll to its next poll, in which all calls wait."""

from collections import deque
from threading import Event
from typing import Any

from audiohookd.runtime.processor_time import Seconds

#: Turns over the limit that are kept until they are taken: the oldest go first.
KEPT_TURNS = 64


class TurnTimer:
    """Wraps the poller of a reactor of Twisted's. The reactor's thread writes, any thread reads.

    It costs two readings of the clock per turn, and no wake-up: a reactor that waits is not blocked.

    :param limit: seconds; turns that take longer are kept until they are taken.
    """

    def __init__(self, reactor: Any, limit: float) -> None:
        self._reactor = reactor
        self._seconds: Seconds = reactor.seconds
        self._limit = limit
        self._poller: Any = None
        #: When the current turn began; None while the reactor waits.
        self.began: float | None = None
        #: Turns that have begun.
        self.count = 0
        #: The current turn is the start of the daemon.
        self.is_starting = True
        self._begins = Event()
        self._is_awaited = False
        self._ended: deque[tuple[float, float]] = deque(maxlen=KEPT_TURNS)

    @property
    def is_supported(self) -> bool:
        """The reactor has a poller, as those for epoll and poll have."""
        return hasattr(self._reactor, "_poller")

    def start(self) -> None:
        """Times from now on. Until the first poll, this is the turn of the start."""
        self._poller = self._reactor._poller
        # The methods that a reactor calls each time that a connection has more to send cost no call more.
        self.register, self.modify = self._poller.register, self._poller.modify
        self.unregister = self._poller.unregister
        self.began = self._seconds()
        self._reactor._poller = self

    def stop(self) -> None:
        """The current turn is the last one; the reactor gets its poller back."""
        self._end_turn()
        self._reactor._poller = self._poller
        self._begins.set()

    def wait(self, timeout: float) -> None:
        """Waits for ``timeout`` seconds, or until a turn begins; not at all during one. In another thread."""
        self._begins.clear()
        self._is_awaited = True
        if self.began is None and self._reactor._poller is self:
            self._begins.wait(timeout)

    def take_ended(self) -> list[tuple[float, float]]:
        """Begin and end of the turns over the limit, once each. In any thread."""
        return [self._ended.popleft() for _ in range(len(self._ended))]

    def poll(self, *arguments: Any) -> Any:
        """As the poller's own."""
        self._end_turn()
        try:
            return self._poller.poll(*arguments)
        finally:
            self.began = self._seconds()
            self.count += 1
            if self._is_awaited:  # once after each pause of the reactor: a wake-up costs more than the rest of this
                self._is_awaited = False
                self._begins.set()

    def _end_turn(self) -> None:
        if self.began is None:
            return
        now = self._seconds()
        if now - self.began >= self._limit and not self.is_starting:
            self._ended.append((self.began, now))
        self.began, self.is_starting = None, False
