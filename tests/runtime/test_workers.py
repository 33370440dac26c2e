"""Pools of real threads, with the real reactor."""

import errno
import gc
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.threadable import isInIOThread
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from audiohookd.delivery.service import STOP_LIMIT
from audiohookd.interfaces import IWorkers, PoolFull
from audiohookd.observe.counters import Counters
from audiohookd.plugin_host import PATIENCE as PATIENCE_OF_PLUGINS
from audiohookd.plugin_host import Daemon
from audiohookd.runtime.services import StartError
from audiohookd.runtime.workers import Workers
from audiohookd.testing import MemoryWorkers

#: Seconds after which a thread that should have been released is one that hangs.
PATIENCE = 10


class TestWorkers(TestCase):
    timeout = PATIENCE

    def setUp(self) -> None:
        self.release = threading.Event()
        self.addCleanup(self.release.set)

    def pool(self, threads: int = 1, waiting: int = 10) -> Workers:
        pool = Workers(reactor, "test", threads, waiting)
        pool.startService()

        def stop() -> Any:
            self.release.set()
            return pool.stopService() if pool.running else None

        self.addCleanup(stop)
        return pool

    def busy(self, result: Any = None) -> Callable[[], Any]:
        """Work that lasts until it is released."""

        def work() -> Any:
            assert self.release.wait(PATIENCE)
            return result

        return work

    def test_keeps_the_contract_and_so_does_its_twin(self) -> None:
        self.assertTrue(verifyObject(IWorkers, Workers(reactor, "test", 1, 1)))
        self.assertTrue(verifyObject(IWorkers, MemoryWorkers()))

    async def test_works_in_a_thread_of_its_own_and_answers_in_the_reactors(self) -> None:
        where = await self.pool().do(threading.current_thread)
        self.assertIsNot(where, threading.current_thread())
        self.assertIn("test", where.name)
        self.assertTrue(isInIOThread())

    async def test_gives_way_to_the_reactor(self) -> None:
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        pool = Workers(reactor, "test", 1, 1, niceness=3)
        pool.startService()
        self.addCleanup(pool.stopService)
        theirs = await pool.do(lambda: os.getpriority(os.PRIO_PROCESS, 0))
        self.assertEqual(theirs, min(ours + 3, 19))
        self.assertEqual(os.getpriority(os.PRIO_PROCESS, 0), ours)

    async def test_leaves_no_cycles_behind(self) -> None:
        pool = self.pool()
        await pool.do(int)
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        for _ in range(100):
            await pool.do(int)
        self.assertLess(gc.collect(), 100)

    async def test_works_where_it_may_not_give_way(self) -> None:
        for error in errno.EPERM, errno.ENOSYS:

            def forbid(*_: object, error: int = error) -> None:
                raise OSError(error, os.strerror(error))

            self.patch(os, "setpriority", forbid)
            self.assertEqual(await self.pool().do(lambda: 7), 7)

    async def test_an_exception_of_the_work_fails_the_deferred(self) -> None:
        def fails() -> None:
            raise OSError(28, "disk full")

        with self.assertRaisesRegex(OSError, "disk full"):
            await self.pool().do(fails)

    async def test_one_thread_keeps_the_order(self) -> None:
        pool, done = self.pool(waiting=100), []
        await DeferredList([pool.do(lambda number=number: done.append(number)) for number in range(100)])  # type: ignore[misc]
        self.assertEqual(done, list(range(100)))

    async def test_several_threads_work_at_once(self) -> None:
        meeting = threading.Barrier(3)
        pool = self.pool(threads=3)
        waiting = [pool.do(lambda: meeting.wait(PATIENCE)) for _ in range(3)]
        arrived = await DeferredList(waiting, fireOnOneErrback=True)
        self.assertEqual({number for _, number in arrived}, {0, 1, 2})

    async def test_no_more_than_its_threads_work_at_once(self) -> None:
        pool, names = self.pool(threads=2, waiting=20), set()
        await DeferredList([pool.do(lambda: names.add(threading.current_thread().name)) for _ in range(20)])
        self.assertLessEqual(len(names), 2)

    async def test_takes_only_so_much_work(self) -> None:
        pool = self.pool(threads=2, waiting=3)
        taken = [pool.do(self.busy(number)) for number in range(5)]
        self.failureResultOf(pool.do(self.busy()), PoolFull)
        self.release.set()
        self.assertEqual([result for _, result in await DeferredList(taken)], [0, 1, 2, 3, 4])
        self.assertEqual(await pool.do(lambda: "room again"), "room again")

    async def test_cancelled_work_still_counts_until_its_thread_is_free(self) -> None:
        pool = self.pool(threads=1, waiting=1)
        given_up = [pool.do(self.busy()) for _ in range(2)]
        for result in given_up:
            result.cancel()
            self.failureResultOf(result, CancelledError)
        self.failureResultOf(pool.do(self.busy()), PoolFull)
        self.release.set()
        await pool.stopService()

    async def test_a_failure_of_cancelled_work_is_nobodys(self) -> None:
        pool = self.pool()

        def fails() -> None:
            self.busy()()
            raise OSError("too late to matter")

        result = pool.do(fails)
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.release.set()
        await pool.stopService()

    def test_takes_none_before_its_start(self) -> None:
        self.failureResultOf(Workers(reactor, "test", 1, 1).do(self.busy()), PoolFull)

    async def test_its_stop_waits_for_the_work_that_was_taken_and_takes_no_more(self) -> None:
        pool = self.pool()
        done: list[Any] = []
        for number in range(3):
            pool.do(self.busy(number)).addCallback(done.append)
        stopped = pool.stopService()
        self.failureResultOf(pool.do(self.busy()), PoolFull)
        self.assertNoResult(stopped)
        self.release.set()
        await stopped
        self.assertEqual(done, [0, 1, 2])
        self.assertTrue(isInIOThread())

    async def test_its_stop_leaves_failures_to_those_who_asked(self) -> None:
        pool = self.pool()

        def fails() -> None:
            self.busy()()
            raise OSError("disk")

        result: Deferred[Any] = pool.do(fails)
        stopped = pool.stopService()
        self.release.set()
        await stopped
        self.failureResultOf(result, OSError)

    async def test_no_thread_is_left_after_its_stop(self) -> None:
        pool = self.pool(threads=3)
        threads = [thread for _, thread in await DeferredList([pool.do(threading.current_thread) for _ in range(9)])]
        await pool.stopService()
        self.assertEqual([thread for thread in threads if thread.is_alive()], [])

    async def test_a_thread_that_hangs_does_not_keep_the_process_alive(self) -> None:
        thread = await self.pool().do(threading.current_thread)
        self.assertTrue(thread.daemon)


class TestRefusedThreads(TestCase):
    """The system makes no thread: a full pids cgroup, TasksMax=, ulimit -u, or no memory."""

    timeout = PATIENCE

    def setUp(self) -> None:
        self.release = threading.Event()
        self.addCleanup(self.release.set)
        self.counters = Counters()
        self.logged = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.start = threading.Thread.start

    def refuse(self, is_refused: bool = True) -> None:
        def no_thread(*_: object) -> None:
            raise RuntimeError("can't start new thread")

        self.patch(threading.Thread, "start", no_thread if is_refused else self.start)

    def pool(self, threads: int, minimum: int | None = None) -> Workers:
        pool = Workers(reactor, "test", threads, 10, count=self.counters.count)
        pool.minimum = minimum or threads
        pool.startService()

        def stop() -> Any:
            self.release.set()
            return pool.stopService()

        self.addCleanup(stop)
        return pool

    def errors(self) -> list[str]:
        return [formatEvent(event) for event in self.logged if event["log_level"] is LogLevel.error]

    async def test_a_pool_that_has_started_needs_no_thread_for_its_first_work(self) -> None:
        pool = self.pool(threads=1)
        self.refuse()
        self.assertEqual(await pool.do(lambda: 7), 7)
        self.assertEqual(self.errors(), [])

    async def test_a_pool_that_cannot_grow_works_with_the_threads_that_it_has(self) -> None:
        pool = self.pool(threads=3, minimum=1)
        self.refuse()
        results = [pool.do(lambda number=number: number) for number in range(5)]  # type: ignore[misc]
        self.assertEqual([result for _, result in await DeferredList(results)], [0, 1, 2, 3, 4])
        (line,) = self.errors()
        self.assertIn("test: the system refuses another thread (can't start new thread); continuing with 1", line)
        self.assertIn("TasksMax=", line)
        self.assertGreater(self.counters.value("threads_refused", "test"), 0)

    async def test_a_pool_that_could_not_grow_tries_again_while_work_waits(self) -> None:
        pool = self.pool(threads=2, minimum=1)
        self.refuse()
        hanging = pool.do(lambda: self.release.wait(PATIENCE))
        waiting = pool.do(lambda: "done")
        self.refuse(False)
        self.assertEqual(await waiting, "done")
        self.assertFalse(hanging.called)

    async def test_a_pool_that_stops_asks_for_no_more_threads(self) -> None:
        pool = Workers(reactor, "test", 2, 10, patience=0.01)
        pool.minimum = 1
        pool.startService()
        self.refuse()
        for _ in range(2):
            result = pool.do(lambda: self.release.wait(PATIENCE))
            result.cancel()
            self.failureResultOf(result, CancelledError)
        await pool.stopService()  # trial fails a test that leaves a timer behind

    def test_a_pool_that_cannot_make_its_threads_does_not_start(self) -> None:
        self.refuse()
        pool = Workers(reactor, "test", 2, 10)
        with self.assertRaisesRegex(StartError, r"\Atest: the system refuses a thread \(can't .*raise TasksMax="):
            pool.startService()
        self.failureResultOf(pool.do(lambda: 7), PoolFull)

    async def test_work_that_returns_a_deferred_fails(self) -> None:
        with self.assertRaisesRegex(TypeError, "must not return a Deferred"):
            await self.pool(threads=1).do(Deferred)


class TestAStopThatIsNotPatient(TestCase):
    """With work that hangs."""

    timeout = PATIENCE

    def setUp(self) -> None:
        self.release = threading.Event()
        self.begun = threading.Event()
        self.lines: list[str] = []
        globalLogPublisher.addObserver(self.log)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, self.log)  # type: ignore[arg-type]
        self.addCleanup(self.release.set)

    def pool(self, patience: float) -> Workers:
        pool = Workers(reactor, "test", 1, 10, patience)
        pool.startService()
        return pool

    def log(self, event: LogEvent) -> None:
        if event.get("log_namespace", "").startswith("audiohookd."):
            self.lines.append(f"{event['log_level'].name}: {formatEvent(event)}")

    def work(self) -> str:
        self.begun.set()
        assert self.release.wait(PATIENCE)
        return "done"

    async def test_gives_up_what_nobody_waits_for(self) -> None:
        pool = self.pool(0.01)
        given_up = [pool.do(self.work) for _ in range(2)]
        self.begun.wait(PATIENCE)
        for result in given_up:
            result.cancel()
            self.failureResultOf(result, CancelledError)
        await pool.stopService()
        self.assertFalse(self.release.is_set())
        self.assertEqual(self.lines, ["warn: test: stop timed out, abandoning 2 hanging pieces of work"])

    async def test_waits_for_what_somebody_waits_for(self) -> None:
        pool = self.pool(0.01)
        wanted = pool.do(self.work)
        stopped = pool.stopService()
        await deferLater(reactor, 0.05)
        self.assertNoResult(stopped)
        self.release.set()
        self.assertEqual(await wanted, "done")
        await stopped
        self.assertEqual(self.lines, [])

    async def test_waits_a_little_for_what_nobody_waits_for(self) -> None:
        pool = self.pool(PATIENCE)
        result = pool.do(self.work)
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.release.set()
        await pool.stopService()
        self.assertEqual(self.lines, [])

    def test_pools_of_plugins_stop_early_so_that_the_daemon_ends_in_time(self) -> None:
        pool = Daemon(reactor, time.time, None).of_plugin("s3").workers("upload", 1, 1)  # type: ignore[arg-type]
        self.assertEqual(pool.patience, PATIENCE_OF_PLUGINS)
        self.assertLessEqual(STOP_LIMIT + PATIENCE_OF_PLUGINS, 25.0)
