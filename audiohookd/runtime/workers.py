"""Bounded pools of threads, one per purpose: a stalled disk must not hold up an upload, nor DNS.

Linux gives each thread a niceness of its own. All of these are nicer than the reactor's: while 300 recordings were
uploaded on the one processor that 500 calls had, the longest that a call waited was 196 to 357 ms without that, and
43 to 72 ms with it. Not much nicer: a thread that holds the interpreter while another program has the processor keeps
the reactor waiting, too.

Not Twisted's ThreadPool: it makes its first thread for the first work, and loses that work when the system refuses
the thread. Two seconds of a full pids cgroup ended all recording, syncing and delivering of a daemon that was ready
according to ``/ready``.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread, get_native_id
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from audiohookd.interfaces import IWorkers, PoolFull
from audiohookd.runtime.services import StartError

T = TypeVar("T")

#: Added to the niceness of the process, 0 to 19.
NICENESS = 10
#: Seconds until a pool with waiting work asks the system again for a thread that it was refused.
GROW_AGAIN = 1.0
#: What to do about refused threads.
REMEDY = "raise TasksMax= of the systemd unit, pids.max of the container, or ulimit -u"


class _Thread(Thread):
    """Does work from a queue until there is None. Work that hangs does not keep the process alive."""

    def __init__(self, name: str, work: "SimpleQueue[Callable[[], object] | None]", niceness: int) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._niceness = niceness

    def run(self) -> None:
        """In the thread. The work catches what it raises."""
        with suppress(OSError):  # a sandbox that forbids it, or does not know it, is no reason not to work
            os.setpriority(os.PRIO_PROCESS, get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + self._niceness)
        while (work := self._work.get()) is not None:
            work()
            del work  # or its result would live until the next work
        self._work.put(None)  # for the next thread


@implementer(IWorkers)
class Workers(Service):
    """A pool that runs while the service does.

    It starts with :attr:`minimum` threads, and makes the others when there is work for them. When the system refuses
    one, the pool asks again, and works with the threads that it has.

    :param threads: how many run at once.
    :param waiting: how many pieces of work may wait for a thread; one more fails with :class:`PoolFull`.
    :param patience: seconds that its stop waits for work whose result nobody waits for any more; None: for ever.
    :param niceness: how much nicer its threads, and processes that they start, are than the reactor's, 0 to 19.
    :param count: as :meth:`audiohookd.observe.counters.Counters.count`.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        name: str,
        threads: int,
        waiting: int,
        patience: float | None = None,
        niceness: int = NICENESS,
        count: Callable[..., object] = lambda *_: None,
    ) -> None:
        self.name = name
        self.patience = patience
        self._reactor = reactor
        self._maximum = threads
        #: Threads that are made at the start, at least 1 and by default all of them. To be changed before it.
        self.minimum = threads
        self._limit = threads + waiting
        self._niceness = niceness
        self._count = count
        self._threads: list[Thread] = []
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._growing: IDelayedCall | None = None
        self._is_refused = False  # the last thread that was wanted
        #: What runs or waits, and the result that was handed out for it.
        self._unfinished: dict[Deferred[Any], Deferred[Any]] = {}

    def startService(self) -> None:
        """Makes the threads without which the pool cannot work.

        :raises StartError: the system refuses one of them.
        """
        try:
            while len(self._threads) < self.minimum:
                self._make_thread()
        except (RuntimeError, MemoryError) as fault:
            raise StartError(f"{self.name}: the system refuses a thread ({fault}): {REMEDY}") from fault
        super().startService()

    def stopService(self) -> "Deferred[None]":
        """Waits for the work that was taken; takes no more. Fires in the reactor thread."""
        super().stopService()
        return Deferred.fromCoroutine(self._drain())

    async def _drain(self) -> None:
        while wanted := [done for done, result in self._unfinished.items() if not result.called]:
            await _settled(wanted[0])
        is_idle = await self._unwanted_ends()
        if self._growing is not None:
            self._growing.cancel()
            self._growing = None
        if is_idle:
            self._end_threads()

    async def _unwanted_ends(self) -> bool:
        """False when some of it hangs. To stop the pool would be to wait for that; threads end with the process."""
        rest = DeferredList([_settled(done) for done in self._unfinished], consumeErrors=True)
        if self.patience is not None:
            rest.addTimeout(self.patience, self._reactor)
        await rest
        if self._unfinished:
            count = len(self._unfinished)
            self._log.warn("{pool}: {count} pieces of work hang, and are given up", pool=self.name, count=count)
        return not self._unfinished

    def _end_threads(self) -> None:
        self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def do(self, work: Callable[[], T]) -> "Deferred[T]":
        """See :class:`IWorkers`. Raises nothing."""
        if not self.running or len(self._unfinished) >= self._limit:
            return fail(PoolFull(f"{self.name}: {len(self._unfinished)} pieces of work"))
        # Not handed out: who cancels a result gives up waiting for it, but the thread stays busy.
        done: Deferred[T] = Deferred()
        result: Deferred[T] = Deferred()
        self._unfinished[done] = result

        def finished(outcome: Any) -> Any:
            del self._unfinished[done]
            return outcome

        done.addBoth(finished).chainDeferred(result)
        self._queue.put(lambda: self._work(work, done))
        self._grow()
        return result

    def _work(self, work: Callable[[], T], done: "Deferred[T]") -> None:
        """In a thread."""
        outcome: T | Failure
        try:
            outcome = work()
            if isinstance(outcome, Deferred):
                raise TypeError("work for a thread returned a Deferred, which no thread can wait for")
        except BaseException:  # whatever it is, it belongs to the work, and must not end the thread
            outcome = Failure()
        # A Failure that is a callback's result runs the errbacks.
        self._reactor.callFromThread(done.callback, outcome)

    def _grow(self) -> None:
        """Makes the threads that the work wants, as far as the system gives them."""
        wanted = min(self._maximum, len(self._unfinished))
        try:
            while len(self._threads) < wanted:
                self._make_thread()
                self._is_refused = False
        except (RuntimeError, MemoryError) as fault:
            self._refused(str(fault))

    def _refused(self, reason: str) -> None:
        self._count("threads_refused", self.name)
        if not self._is_refused:
            self._is_refused = True
            text = "{pool}: the system refuses another thread ({reason}); {count} go on with the work: {remedy}"
            self._log.error(text, pool=self.name, reason=reason, count=len(self._threads), remedy=REMEDY)
        if self._growing is None:
            self._growing = self._reactor.callLater(GROW_AGAIN, self._grow_again)

    def _grow_again(self) -> None:
        self._growing = None
        self._grow()

    def _make_thread(self) -> None:
        """:raises RuntimeError: the system refuses it; MemoryError: there is no memory for it."""
        thread = _Thread(f"{self.name}-{len(self._threads)}", self._queue, self._niceness)
        thread.start()
        self._threads.append(thread)


def _settled(result: "Deferred[Any]") -> "Deferred[None]":
    """Fires when ``result`` does, whatever became of it, and leaves its outcome to those who asked."""
    done: Deferred[None] = Deferred()

    def pass_on(outcome: Any) -> Any:
        done.callback(None)
        return outcome

    result.addBoth(pass_on)
    return done
