"""How long, and how much of, what was stored elsewhere stays here."""

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.escaping import loggable
from audiohookd.interfaces import IWorkers
from audiohookd.runtime.error_text import text_of
from audiohookd.runtime.loops import SupervisedLoop
from audiohookd.runtime.workers import PoolFull
from audiohookd.spool.paths import SpoolPaths
from audiohookd.spool.sweep import RetentionPass, RetentionPolicy
from audiohookd.spool.wall_clock import GuardedWallClock

#: Seconds from the start of one sweep to the next.
SWEEP_EVERY = 60.0
#: The same while new calls are refused because the spool is too large: any recording that is stored may end that.
HURRY_EVERY = 10.0

MIB = 1 << 20


class Retention(Service):
    """Sweeps the spool from its start to its stop, where there is anything to look after.

    :param now: seconds since the epoch, to tell the age of files by. Guarded by the reactor's clock: see
        :class:`GuardedWallClock`.
    :param workers: a pool with one thread, used for nothing else: a sweep through a large spool takes its time.
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
        #: Bytes of all files in the spool after the last sweep.
        self.used = 0
        #: Why no new call should be taken: the spool takes more than it may, and nothing of it can go. Or None.
        self.obstacle: str | None = None

    def startService(self) -> None:
        """The first sweep begins at once; it is not waited for."""
        super().startService()
        if self._terms.carriers or self._terms.max_spool:
            self.loop.start()
            self.loop.run()

    def stopService(self) -> None:
        """A sweep that is under way ends after the recording it is at; the pool waits for that."""
        super().stopService()
        self.loop.stop()

    def _sweep(self) -> "Deferred[None]":
        sweep = RetentionPass(self._spool, self._terms, self._clock.now(), self._is_over)
        swept: Deferred[RetentionPass] = self._workers.do(sweep.run)
        return swept.addCallbacks(self._swept, self._failed)

    def _is_over(self) -> bool:
        """In a thread, between two recordings: a sweep through a large spool takes minutes, and may."""
        self.loop.touch()
        return not self.running

    def _swept(self, sweep: RetentionPass) -> None:
        if sweep.expired:
            self._count("recordings_removed", "expired", sweep.expired)
        if sweep.evicted:
            self._count("recordings_removed", "evicted", sweep.evicted)
            self._log.info("{count} recordings made room for others", count=sweep.evicted)
        if sweep.fault is not None:
            self._log.error("{reason}: it cannot be removed", reason=_say(sweep.fault))
        self.used = sweep.used
        self.obstacle = self._find_obstacle(sweep)
        self.loop.period = SWEEP_EVERY if self.obstacle is None else HURRY_EVERY

    def _find_obstacle(self, sweep: RetentionPass) -> str | None:
        if not self._terms.max_spool or sweep.used <= self._terms.max_spool:
            return None
        reason = "what is left is not stored elsewhere" if sweep.fault is None else _say(sweep.fault)
        used, limit = -(-sweep.used // MIB), self._terms.max_spool // MIB
        return f"{self._spool.directory} takes {used} MiB, more than max_spool ({limit} MiB): {reason}"

    def _failed(self, failure: Failure) -> Failure | None:
        if failure.check(PoolFull):  # a sweep before this one hangs: the loop has not turned
            return failure
        fault = failure.value
        reason = _say(fault) if isinstance(fault, OSError) else text_of(failure.value)
        self._log.error("the spool cannot be swept: {reason}", reason=reason)
        return None


def _say(fault: OSError) -> str:
    return loggable(f"{fault.filename}: {fault.strerror}")
