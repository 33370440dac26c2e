"""Bounded thread pools, one per purpose, so that a stalled disk delays neither uploads nor DNS.

On Linux each thread has its own niceness. The threads of all pools are nicer than the reactor's: while 300 recordings
were uploaded on the only processor of 500 calls, the longest delay of a call was 43 to 72 ms with this, and 196 to
357 ms without. They are not much nicer: a thread that holds the interpreter while another program has the processor
delays the reactor, too.

Twisted's ThreadPool is not used: it starts its first thread for the first work, and loses that work if the system
refuses the thread. Two seconds of a full pids cgroup stopped all recording, syncing and delivery of a daemon that
``/ready`` reported as ready.
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

#: Niceness of the threads relative to the process, 0 to 19.
NICENESS = 10
#: Seconds until a pool with waiting work retries to start a thread that the system refused.
GROW_AGAIN = 1.0
#: The remedy for refused threads, in log lines.
REMEDY = "raise TasksMax= of the systemd unit, pids.max of the container, or ulimit -u"


class _Thread(Thread):
    """Runs work from a queue until it gets None. Hanging work does not keep the process alive."""

    def __init__(self, name: str, work: "SimpleQueue[Callable[[], object] | None]", niceness: int) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._niceness = niceness

    def run(self) -> None:
        """Runs in the thread. The work catches its own exceptions."""
        with suppress(OSError):  # a sandbox may forbid it
            os.setpriority(os.PRIO_PROCESS, get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + self._niceness)
        while (work := self._work.get()) is not None:
            work()
            del work  # else its result would live until the next work
        self._work.put(None)  # ends the next thread


@implementer(IWorkers)
class Workers(Service):
    """A thread pool that runs while the service does.

    It starts with :attr:`minimum` threads, and starts the others when there is work for them. If the system refuses a
    thread, the pool retries, and works with its existing threads.

    :param threads: the most threads.
    :param waiting: the most pieces of work that may wait for a thread; one more fails with :class:`PoolFull`.
    :param patience: seconds that the stop waits for work after its result was cancelled; None for no limit.
    :param niceness: niceness of the threads, and of processes that they start, relative to the reactor, 0 to 19.
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
        #: Threads that start with the pool, at least 1, by default all of them. Change it before the start.
        self.minimum = threads
        self._limit = threads + waiting
        self._niceness = niceness
        self._count = count
        self._threads: list[Thread] = []
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._growing: IDelayedCall | None = None
        self._is_refused = False  # the system refused the last thread
        #: Work that runs or waits: its end, and the Deferred that ``do`` has returned.
        self._unfinished: dict[Deferred[Any], Deferred[Any]] = {}

    def startService(self) -> None:
        """Starts :attr:`minimum` threads.

        :raises StartError: the system refuses one of them.
        """
        try:
            while len(self._threads) < self.minimum:
                self._make_thread()
        except (RuntimeError, MemoryError) as fault:
            raise StartError(f"{self.name}: the system refuses a thread ({fault}): {REMEDY}") from fault
        super().startService()

    def stopService(self) -> "Deferred[None]":
        """Accepts no more work, and waits for the accepted work. Fires in the reactor thread."""
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
        """Waits for cancelled work. False if some hangs; its threads then end with the process."""
        rest = DeferredList([_settled(done) for done in self._unfinished], consumeErrors=True)
        if self.patience is not None:
            rest.addTimeout(self.patience, self._reactor)
        await rest
        if self._unfinished:
            count = len(self._unfinished)
            text = "{pool}: stop timed out, abandoning {count} hanging pieces of work"
            self._log.warn(text, pool=self.name, count=count)
        return not self._unfinished

    def _end_threads(self) -> None:
        self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def do(self, work: Callable[[], T]) -> "Deferred[T]":
        """See :class:`IWorkers`. Raises nothing."""
        if not self.running or len(self._unfinished) >= self._limit:
            return fail(PoolFull(f"{self.name}: {len(self._unfinished)} pieces of work"))
        # ``done`` is private: a caller may cancel ``result``, but the thread stays busy until the work is done.
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
        """Runs work in a thread."""
        outcome: T | Failure
        try:
            outcome = work()
            if isinstance(outcome, Deferred):
                raise TypeError("work for a thread must not return a Deferred: a thread cannot wait for it")
        except BaseException:  # an exception of the work must not end the thread
            outcome = Failure()
        # A Failure that is a callback's result runs the errbacks.
        self._reactor.callFromThread(done.callback, outcome)

    def _grow(self) -> None:
        """Starts threads for the waiting work, as far as the system allows."""
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
            text = "{pool}: the system refuses another thread ({reason}); continuing with {count}: {remedy}"
            self._log.error(text, pool=self.name, reason=reason, count=len(self._threads), remedy=REMEDY)
        if self._growing is None:
            self._growing = self._reactor.callLater(GROW_AGAIN, self._grow_again)

    def _grow_again(self) -> None:
        self._growing = None
        self._grow()

    def _make_thread(self) -> None:
        """Starts a thread.

        :raises RuntimeError: the system refuses it.
        :raises MemoryError: there is no memory for it.
        """
        thread = _Thread(f"{self.name}-{len(self._threads)}", self._queue, self._niceness)
        thread.start()
        self._threads.append(thread)


def _settled(result: "Deferred[Any]") -> "Deferred[None]":
    """Fires when ``result`` does, with success or failure, and leaves its outcome to other callbacks."""
    done: Deferred[None] = Deferred()

    def pass_on(outcome: Any) -> Any:
        done.callback(None)
        return outcome

    result.addBoth(pass_on)
    return done
