"""Worker pools without threads."""

from collections import deque
from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, execute, fail
from zope.interface import implementer

from audiohookd.interfaces import IWorkers, PoolFull, WrongThread

T = TypeVar("T")


@implementer(IWorkers)
class MemoryWorkers:
    """A pool without threads: work runs when the test calls ``run`` or ``run_one``.

    :param waiting: how many pieces of work may be queued; one more fails with PoolFull.
    """

    def __init__(self, waiting: int = 1000) -> None:
        self._waiting = waiting
        self._thread = get_ident()
        #: Assign False to simulate a pool that has not started, or has stopped.
        self.running = True
        self._queue: deque[tuple[Callable[[], Any], Deferred[Any]]] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def do(self, work: Callable[[], T]) -> "Deferred[T]":
        """See :class:`IWorkers`."""
        if get_ident() != self._thread:
            return fail(WrongThread("do() was called outside the reactor thread"))
        if not self.running or len(self._queue) >= self._waiting:
            return fail(PoolFull("memory workers"))
        result: Deferred[T] = Deferred()
        self._queue.append((work, result))
        return result

    def run_one(self) -> None:
        """Runs the oldest piece of work."""
        work, result = self._queue.popleft()
        execute(_no_deferred, work).chainDeferred(result)

    def run(self) -> None:
        """Runs all queued work, and the work that it queues."""
        while self._queue:
            self.run_one()


def _no_deferred(work: Callable[[], T]) -> T:
    done = work()
    if isinstance(done, Deferred):
        raise TypeError("work for a thread must not return a Deferred: a thread cannot wait for it")
    return done


@implementer(IWorkers)
class LimitedWorkers:
    """A pool with its own limit that runs its work in a shared MemoryWorkers."""

    def __init__(self, pool: MemoryWorkers, limit: int) -> None:
        self._pool = pool
        self._limit = limit
        self._unfinished = 0
        self.running = True

    def do(self, work: Callable[[], T]) -> "Deferred[T]":
        """See :class:`IWorkers`."""
        if not self.running or self._unfinished >= self._limit:
            return fail(PoolFull(f"{self._unfinished} pieces of work"))
        self._unfinished += 1
        return self._pool.do(partial(self._run, work))

    def _run(self, work: Callable[[], T]) -> T:
        self._unfinished -= 1
        return work()
