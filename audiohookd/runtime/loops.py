"""Periodic work that goes on whatever it raises, and a supervisor that sees when it does not.

A LoopingCall of Twisted's ends with the first exception, and a chain of ``callLater`` with the first that is raised
before the next link. Both end in silence: after two seconds without threads the commits of a daemon had ended, and
it recorded nothing for hours while it was ready.
"""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.runtime.faults import in_words, is_mistake

#: Periods without a turn that succeeded after which a loop has stalled.
STALL_PERIODS = 3
#: Seconds from one check of the supervisor to the next. A period that is shorter counts as one of these.
CHECK_EVERY = 1.0
#: Seconds between two checks after which the reactor itself must have stood still, and no loop is to blame.
PAUSE = 2 * CHECK_EVERY

Count = Callable[[str, str], object]


class SupervisedLoop:
    """Begins a turn every ``period`` seconds while it runs, whatever a turn raises. For the reactor thread.

    A turn that fails is logged, once for each reason in a row, and counted; the next one is begun as if it had not.

    :param turn: returns None, or a Deferred that fires when the turn is done. The next one waits for it.
    :param period: seconds from the begin of one turn to the next.
    :param count: as :meth:`audiohookd.observe.counters.Counters.count`.
    :param limit: seconds that a turn may take before the loop has stalled, where three periods are less.
    :param on_demand: a turn is begun only when :meth:`next_in` or :meth:`run` asks for it, and after one that failed.
        One that hangs is waited for: its work must not be done twice at a time. Without it, it is cancelled for a new
        one.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        name: str,
        turn: Callable[[], Any],
        period: float,
        count: Count = lambda *_: None,
        limit: float = 0.0,
        on_demand: bool = False,
    ) -> None:
        self.name = name
        self.period = period
        self.is_running = False
        #: Why the last turn failed, in words; None: it did not.
        self.failure: str | None = None
        #: When a turn succeeded last, or the first one was asked for, in seconds of the clock.
        self.turned_at = 0.0
        self._clock = clock
        self._turn = turn
        self._count = count
        self._limit = limit
        self._on_demand = on_demand
        self._pending: Deferred[Any] | None = None  # the turn that is under way
        self._is_turning = False  # also while ``turn`` itself is called
        self._begun = 0.0  # when it was
        self._moved = 0.0  # when it was, or made progress
        self._timer: IDelayedCall | None = None
        self._next: float | None = None  # when the turn after this one is to be begun
        self._is_next_at_once = False

    def start(self, delay: float | None = None) -> None:
        """The first turn is begun after ``delay`` seconds, by default after one period."""
        self.is_running = True
        self.turned_at = self._clock.seconds()
        if not self._on_demand:
            self.next_in(self.period if delay is None else delay)

    def stop(self) -> None:
        """No more turns are begun. Harmless when called again."""
        self.is_running = False
        self.rest()

    @property
    def is_waiting(self) -> bool:
        """The next turn has its time."""
        return self._next is not None or self._is_next_at_once or self._timer is not None

    def next_in(self, seconds: float) -> None:
        """Sets when the next turn is begun, instead of what was set before."""
        if not self.is_running:
            return
        at = self._clock.seconds() + seconds
        if self._is_turning:
            self._next = at
            return
        if not self.is_waiting and self._on_demand:
            self.turned_at = at  # nothing was due before
        self._cancel_timer()
        self._timer = self._clock.callLater(seconds, self.run)

    def rest(self) -> None:
        """Cancels the next turn."""
        self._next, self._is_next_at_once = None, False
        self._cancel_timer()

    def run(self) -> None:
        """Begins a turn now; while one is under way, right after it."""
        if not self.is_running:
            return
        if self._is_turning:
            self._is_next_at_once = True
            return
        if not self.is_waiting and self._on_demand:
            self.turned_at = self._clock.seconds()
        self._cancel_timer()
        self._is_turning = True
        self._begun = self._moved = self._clock.seconds()
        self._pending = pending = maybeDeferred(self._turn)
        pending.addBoth(self._ended, pending)

    def touch(self) -> None:
        """The turn that is under way makes progress. In any thread."""
        self._moved = self._clock.seconds()

    def failed(self, failure: Failure) -> None:
        """Logs and counts what failed. An errback for what a turn has begun and does not wait for."""
        self._count("loop_failures", self.name)
        fault = failure.value or RuntimeError("no reason")
        reason = in_words(fault)
        if reason == self.failure:
            return
        self.failure = reason
        text = "{loop} failed, and is tried again: {reason}"
        if is_mistake(fault):
            self._log.failure(text, failure, loop=self.name, reason=reason)
        else:
            self._log.error(text, loop=self.name, reason=reason)

    def _ended(self, outcome: Any, turn: "Deferred[Any]") -> None:
        if turn is not self._pending:
            return  # cancelled, for another one
        self._pending = None
        self._is_turning = False
        now = self._clock.seconds()
        asked, self._next = self._next, None
        is_next_at_once, self._is_next_at_once = self._is_next_at_once, False
        regular = self._begun + self.period
        if isinstance(outcome, Failure):
            self.failed(outcome)
            self.next_in(regular - now if regular > now else self.period)
            return
        self.turned_at = now
        self.failure = None
        if is_next_at_once:
            self.run()
        elif asked is not None:
            self.next_in(max(0.0, asked - now))
        elif not self._on_demand:
            self.next_in(regular - now if regular > now else self.period)

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    # ---- for the supervisor ----------------------------------------------------------------------

    @property
    def patience(self) -> float:
        """Seconds without a turn that succeeded, or without progress in one, after which the loop has stalled."""
        allowed = STALL_PERIODS * max(self.period, CHECK_EVERY)
        return max(allowed, self._limit) if self._is_turning and self.failure is None else allowed

    def is_stalled(self) -> bool:
        """A turn should have succeeded, and has not."""
        is_due = self._is_turning or self.is_waiting or not self._on_demand
        since = self._moved if self._is_turning and self.failure is None else self.turned_at
        return self.is_running and is_due and self._clock.seconds() - since >= self.patience

    def excuse(self, seconds: float) -> None:
        """For so long the reactor stood still."""
        self.turned_at += seconds
        self._moved += seconds

    def restart(self) -> bool:
        """Begins a turn instead of the current one. False when the current one has to be waited for."""
        if self._is_turning:
            if self._on_demand:
                return False
            pending, self._pending = self._pending, None
            self._is_turning = False
            if pending is not None:
                pending.cancel()
        self.run()
        return True


class Supervisor(Service):
    """Starts loops again that have stalled; until a turn of theirs succeeds, the daemon is not ready.

    :param count: as :meth:`audiohookd.observe.counters.Counters.count`.
    :param tell: called with the names of stalled loops, in words, when they change; with None when there is none.
    """

    name = "loop-supervisor"
    _log = Logger()

    def __init__(
        self, clock: IReactorTime, loops: Sequence[SupervisedLoop], count: Count, tell: Callable[[str | None], None]
    ) -> None:
        self._clock = clock
        self._loops = loops
        self._count = count
        self._tell = tell
        self._timer: IDelayedCall | None = None
        self._checked_at = 0.0
        #: Stalled loops: since when, and when they were started again last.
        self._stalled: dict[SupervisedLoop, tuple[float, float]] = {}

    def startService(self) -> None:
        """Checks from now on."""
        super().startService()
        self._checked_at = self._clock.seconds()
        self._timer = self._clock.callLater(CHECK_EVERY, self._check)

    def stopService(self) -> None:
        """Checks no more."""
        super().stopService()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _check(self) -> None:
        self._timer = self._clock.callLater(CHECK_EVERY, self._check)  # first: nothing below may end the chain
        now = self._clock.seconds()
        pause, self._checked_at = now - self._checked_at, now
        if pause > PAUSE:
            for loop in self._loops:
                loop.excuse(pause)
        before = list(self._stalled)
        for loop in self._loops:
            self._look_at(loop, now)
        if before != list(self._stalled):
            names = ", ".join(loop.name for loop in self._stalled)
            self._tell(f"periodic work has stopped: {names}" if names else None)

    def _look_at(self, loop: SupervisedLoop, now: float) -> None:
        if loop in self._stalled:
            since, restarted = self._stalled[loop]
            if loop.turned_at > since or not loop.is_running:
                del self._stalled[loop]
                self._log.info("{loop} runs again, after {seconds:.0f} s", loop=loop.name, seconds=now - since)
            elif now - restarted >= loop.patience:
                self._stalled[loop] = (since, now)
                loop.restart()
        elif loop.is_stalled():
            self._stalled[loop] = (loop.turned_at, now)
            self._count("loop_stalls", loop.name)
            self._log.error(
                "{loop} has not run for {seconds:.0f} s{why}: the daemon is not ready until it does; {step}",
                loop=loop.name,
                seconds=now - loop.turned_at,
                why="" if loop.failure is None else f" ({loop.failure})",
                step="it is started again" if loop.restart() else "its last turn hangs, and is waited for",
            )
