"""Bounded pools of threads, one per purpose: a stalled disk must not hold up an upload, nor DNS."""

from collections.abc import Callable
from threading import Thread
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from audiohookd.interfaces import IWorkers

T = TypeVar("T")


class PoolFull(Exception):
    """So much work waits already that no more is taken, or the pool has stopped."""


class _Thread(Thread):
    """Does not keep the process alive: work that hangs must not make the stop hang for ever."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, daemon=True, **options)


class _Threads(ThreadPool):
    threadFactory = _Thread


@implementer(IWorkers)
class Workers(Service):
    """A pool that runs while the service does.

    :param threads: how many run at once.
    :param waiting: how many pieces of work may wait for a thread; one more fails with :class:`PoolFull`.
    """

    def __init__(self, reactor: Any, name: str, threads: int, waiting: int) -> None:
        self.name = name
        self._reactor = reactor
        self._pool = _Threads(minthreads=0, maxthreads=threads, name=name)
        self._limit = threads + waiting
        self._unfinished: set[Deferred[Any]] = set()

    def startService(self) -> None:
        """Threads are only made when there is work."""
        super().startService()
        self._pool.start()

    def stopService(self) -> "Deferred[None]":
        """Waits for the work that was taken; takes no more. Fires in the reactor thread."""
        super().stopService()
        return Deferred.fromCoroutine(self._drain())

    async def _drain(self) -> None:
        while self._unfinished:
            await _settled(next(iter(self._unfinished)))
        self._pool.stop()

    def do(self, work: Callable[[], T]) -> "Deferred[T]":
        """See :class:`IWorkers`."""
        if not self.running or len(self._unfinished) >= self._limit:
            return fail(PoolFull(f"{self.name}: {len(self._unfinished)} pieces of work"))
        # Not handed out: who cancels a result gives up waiting for it, but the thread stays busy.
        done = deferToThreadPool(self._reactor, self._pool, work)
        self._unfinished.add(done)
        result: Deferred[T] = Deferred()

        def finished(outcome: Any) -> Any:
            self._unfinished.discard(done)
            return outcome

        done.addBoth(finished).chainDeferred(result)
        return result


def _settled(result: "Deferred[Any]") -> "Deferred[None]":
    """Fires when ``result`` does, whatever became of it, and leaves its outcome to those who asked."""
    done: Deferred[None] = Deferred()

    def pass_on(outcome: Any) -> Any:
        done.callback(None)
        return outcome

    result.addBoth(pass_on)
    return done
