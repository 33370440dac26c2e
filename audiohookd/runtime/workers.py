"""Bounded pools of threads, one per purpose: a stalled disk must not hold up an upload, nor DNS.

Linux gives each thread a niceness of its own. All of these are nicer than the reactor's: while 300 recordings were
uploaded on the one processor that 500 calls had, the longest that a call waited was 196 to 357 ms without that, and
43 to 72 ms with it. Not much nicer: a thread that holds the interpreter while another program has the processor keeps
the reactor waiting, too.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread, get_native_id
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from audiohookd.interfaces import IWorkers

T = TypeVar("T")

#: Added to the niceness of the process, 0 to 19.
NICENESS = 10

_log = Logger()


class PoolFull(Exception):
    """So much work waits already that no more is taken, or the pool has stopped."""


class _Thread(Thread):
    """Does not keep the process alive: work that hangs must not make the stop hang for ever."""

    niceness = NICENESS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, daemon=True, **options)

    def run(self) -> None:
        """In the thread."""
        with suppress(PermissionError):  # a sandbox that forbids it is no reason not to work
            os.setpriority(os.PRIO_PROCESS, get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + self.niceness)
        super().run()


class _Threads(ThreadPool):
    def __init__(self, niceness: int, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)

        class NiceThread(_Thread):
            pass

        NiceThread.niceness = niceness
        self.threadFactory = NiceThread

    def callInThreadWithCallback(self, onResult: Any, func: Callable[..., Any], *args: Any, **kw: Any) -> None:
        """As Twisted's own, without the context for its log.

        That one leaves a cycle of 430 bytes behind each time, and the collector of those is kept out of the way: with
        a commit each 0.3 s it was 5 MB in an hour.
        """
        if not self.joined:
            self._team.do(partial(_work, onResult, partial(func, *args, **kw)))


def _work(tell: Callable[[bool, Any], object] | None, work: Callable[[], Any]) -> None:
    """In the thread."""
    try:
        result = work()
        is_done = True
    except BaseException:
        result, is_done = Failure(), False
    if tell is not None:
        tell(is_done, result)
    elif not is_done:
        _log.failure("work failed", result)


@implementer(IWorkers)
class Workers(Service):
    """A pool that runs while the service does.

    :param threads: how many run at once.
    :param waiting: how many pieces of work may wait for a thread; one more fails with :class:`PoolFull`.
    :param patience: seconds that its stop waits for work whose result nobody waits for any more; None: for ever.
    :param niceness: how much nicer its threads, and processes that they start, are than the reactor's, 0 to 19.
    """

    def __init__(
        self,
        reactor: Any,
        name: str,
        threads: int,
        waiting: int,
        patience: float | None = None,
        niceness: int = NICENESS,
    ) -> None:
        self.name = name
        self._reactor = reactor
        self._pool = _Threads(niceness, minthreads=0, maxthreads=threads, name=name)
        self._limit = threads + waiting
        self.patience = patience
        #: What runs or waits, and the result that was handed out for it.
        self._unfinished: dict[Deferred[Any], Deferred[Any]] = {}

    def startService(self) -> None:
        """Threads are only made when there is work."""
        super().startService()
        self._pool.start()

    def stopService(self) -> "Deferred[None]":
        """Waits for the work that was taken; takes no more. Fires in the reactor thread."""
        super().stopService()
        return Deferred.fromCoroutine(self._drain())

    async def _drain(self) -> None:
        while wanted := [done for done, result in self._unfinished.items() if not result.called]:
            await _settled(wanted[0])
        if await self._unwanted_ends():
            self._pool.stop()

    async def _unwanted_ends(self) -> bool:
        """False when some of it hangs. To stop the pool would be to wait for that; threads end with the process."""
        rest = DeferredList([_settled(done) for done in self._unfinished], consumeErrors=True)
        if self.patience is not None:
            rest.addTimeout(self.patience, self._reactor)
        await rest
        if self._unfinished:
            count = len(self._unfinished)
            _log.warn("{pool}: {count} pieces of work hang, and are given up", pool=self.name, count=count)
        return not self._unfinished

    def do(self, work: Callable[[], T]) -> "Deferred[T]":
        """See :class:`IWorkers`."""
        if not self.running or len(self._unfinished) >= self._limit:
            return fail(PoolFull(f"{self.name}: {len(self._unfinished)} pieces of work"))
        # Not handed out: who cancels a result gives up waiting for it, but the thread stays busy.
        done = deferToThreadPool(self._reactor, self._pool, work)
        result: Deferred[T] = Deferred()
        self._unfinished[done] = result

        def finished(outcome: Any) -> Any:
            del self._unfinished[done]
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
