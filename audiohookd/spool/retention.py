"""Removes recordings that are stored elsewhere from the spool, by age and by the spool's size."""

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.escaping import loggable
from audiohookd.interfaces import IWorkers, PoolFull
from audiohookd.runtime.error_text import text_of
from audiohookd.runtime.loops import SupervisedLoop
from audiohookd.spool.paths import SpoolPaths
from audiohookd.spool.sweep import RetentionPass, RetentionPolicy
from audiohookd.spool.wall_clock import GuardedWallClock

#: Seconds from the start of one pass to the start of the next.
SWEEP_EVERY = 60.0
#: The same while new calls are rejected because the spool is too large: one more stored recording may end that.
HURRY_EVERY = 10.0

MIB = 1 << 20


class Retention(Service):
    """Runs retention passes while the service runs. Does nothing without carriers and without ``max_spool``.

    :param now: seconds since the epoch, for the age of files.
    :param workers: a pool with one thread that runs nothing else: a pass through a large spool takes minutes.
    :param count: as :meth:`audiohookd.observe.counters.Counters.count`.
    """

    name = "retention"
    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        now: Callable[[], float],
        workers: IWorkers,
        count: Callable[..., object],
        spool: SpoolPaths,
        terms: RetentionPolicy,
    ) -> None:
        self._clock = GuardedWallClock(now, reactor.seconds)
        self._workers = workers
        self._count = count
        self._spool = spool
        self._terms = terms
        self.loop = SupervisedLoop(reactor, self.name, self._sweep, SWEEP_EVERY, count)
        #: Why new calls must not be accepted: the spool is above ``max_spool``, and nothing can be removed. Or None.
        self.obstacle: str | None = None

    def startService(self) -> None:
        """Begins the first pass at once, without waiting for it."""
        super().startService()
        if self._terms.carriers or self._terms.max_spool:
            self.loop.start()
            self.loop.run()

    def stopService(self) -> None:
        """Stops. A running pass ends after its current recording; the pool waits for that."""
        super().stopService()
        self.loop.stop()

    def _sweep(self) -> "Deferred[None]":
        sweep = RetentionPass(self._spool, self._terms, self._clock.now(), self._is_over)
        swept: Deferred[RetentionPass] = self._workers.do(sweep.run)
        return swept.addCallbacks(self._swept, self._failed)

    def _is_over(self) -> bool:
        """Called between two recordings, in the worker thread. Marks the loop as alive: a pass may take minutes."""
        self.loop.touch()
        return not self.running

    def _swept(self, sweep: RetentionPass) -> None:
        if sweep.expired:
            self._count("recordings_removed", "expired", sweep.expired)
        if sweep.evicted:
            self._count("recordings_removed", "evicted", sweep.evicted)
            self._log.info(
                "spool above max_spool: evicted {count} recordings that are stored elsewhere", count=sweep.evicted
            )
        if sweep.fault is not None:
            self._log.error("cannot remove {reason}", reason=_describe(sweep.fault))
        self.obstacle = self._find_obstacle(sweep)
        self.loop.period = SWEEP_EVERY if self.obstacle is None else HURRY_EVERY

    def _find_obstacle(self, sweep: RetentionPass) -> str | None:
        if not self._terms.max_spool or sweep.used <= self._terms.max_spool:
            return None
        reason = "the remaining recordings are not stored elsewhere"
        if sweep.fault is not None:
            reason = _describe(sweep.fault)
        used, limit = -(-sweep.used // MIB), self._terms.max_spool // MIB
        return f"{self._spool.directory} takes {used} MiB, more than max_spool ({limit} MiB): {reason}"

    def _failed(self, failure: Failure) -> Failure | None:
        if failure.check(PoolFull):  # the previous pass hangs: the loop must not count this one as done
            return failure
        error = failure.value
        reason = _describe(error) if isinstance(error, OSError) else text_of(error)
        self._log.error("retention failed, retry in {seconds:g} s: {reason}", seconds=self.loop.period, reason=reason)
        return None


def _describe(error: OSError) -> str:
    return loggable(f"{error.filename}: {error.strerror}")
