"""Public: what plugin authors, and our own tests, test with. No threads, no sockets, no waiting."""

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, execute, fail
from zope.interface import implementer

from audiohookd.interfaces import IWorkers
from audiohookd.runtime.workers import PoolFull

T = TypeVar("T")


@implementer(IWorkers)
class MemoryWorkers:
    """A pool without threads: work is done when the test says so.

    :param waiting: how much may wait; one more fails like the real one.
    """

    def __init__(self, waiting: int = 1000) -> None:
        self._waiting = waiting
        self._queue: deque[tuple[Callable[[], Any], Deferred[Any]]] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def do(self, work: Callable[[], T]) -> "Deferred[T]":
        """See :class:`IWorkers`."""
        if len(self._queue) >= self._waiting:
            return fail(PoolFull("memory workers"))
        result: Deferred[T] = Deferred()
        self._queue.append((work, result))
        return result

    def run_one(self) -> None:
        """Does the oldest piece of work."""
        work, result = self._queue.popleft()
        execute(work).chainDeferred(result)

    def run(self) -> None:
        """Does all work, and what it leads to."""
        while self._queue:
            self.run_one()
