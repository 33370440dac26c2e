"""Detects blocks of the reactor from its own thread, and logs what blocks it.

A plugin that blocks for 0.3 s in a callback delays all calls. Only another thread can read its stack.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from threading import Event, Thread
from types import FrameType
from typing import Any, Final

from twisted.application.service import Service
from twisted.logger import Logger

from audiohookd.observe import culprits
from audiohookd.observe.blocks import LIMIT, PERIOD, Block, BlockDetector
from audiohookd.observe.counters import Counters
from audiohookd.observe.culprits import LABELS, PluginCall, culprit_of
from audiohookd.observe.log_rate_limit import LogRateLimit
from audiohookd.observe.unhandled import places_of
from audiohookd.runtime.processor_time import UsageReader
from audiohookd.runtime.services import StartError
from audiohookd.runtime.turns import TurnTimer
from audiohookd.runtime.workers import REMEDY

#: Seconds between two looks while the reactor waits: 20 wake-ups per second took 0.5 % of an idle processor.
REST: Final = 1.0
#: The most lines per minute about ended blocks of one plugin and callback, and about continuing ones.
LINES_LIMIT: Final = 5
#: Seconds that the stop waits for the thread, which is at its end at once.
JOIN_TIMEOUT: Final = 1.0

Stacks = Callable[[], Mapping[int, FrameType]]


class Watchdog(Service):
    """Logs and counts blocks of the reactor while it runs.

    :param plugins: by the names of their tables.
    :param plugin_call: tells which frames call a plugin.
    :param stacks: of all threads, innermost frames by ident.
    """

    name = "watchdog"
    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        plugins: Mapping[str, object],
        counters: Counters,
        plugin_call: PluginCall,
        stacks: Stacks = sys._current_frames,
    ) -> None:
        self._reactor = reactor
        self._seconds: Callable[[], float] = reactor.seconds
        self._counters = counters
        self._stacks = stacks
        self._culprit_of = partial(culprit_of, places=places_of(plugins), plugin_call=plugin_call)
        self._turns = TurnTimer(reactor, LIMIT)
        self._usage = UsageReader(self._seconds)
        self._floods = LogRateLimit(LINES_LIMIT)
        self._going_on = LogRateLimit(LINES_LIMIT)  # for the watchdog's thread
        self._found: deque[Block] = deque()  # over, and not reported yet
        self._is_ending = Event()
        self._thread: Thread | None = None
        for name in ("reactor_blocks", "reactor_blocked_seconds"):
            counters.expect(name, [*plugins, *LABELS])

    def startService(self) -> None:
        """Begins to watch, before anything can call.

        :raises StartError: the system refuses the thread.
        """
        super().startService()
        if not self._turns.is_supported:
            text = "blocks of the reactor are not watched: {reactor} has no poller; start twistd without --reactor"
            self._log.info(text, reactor=type(self._reactor).__name__)
            return
        self._turns.start()
        self._usage.start()
        self._is_ending.clear()
        watch = partial(self._watch, threading.get_ident())
        thread = Thread(target=watch, name=self.name, daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            raise StartError(f"{self.name}: the system refuses a thread ({error}): {REMEDY}") from error
        self._thread = thread

    def stopService(self) -> None:
        """Ends the thread, and reports what it found last."""
        super().stopService()
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._turns.stop()
        self._is_ending.set()
        thread.join(JOIN_TIMEOUT)
        if not thread.is_alive():
            self._usage.stop()
        self._report_found()
        self._sum_up()

    # ---- in the watchdog's thread ----------------------------------------------------------------

    def _watch(self, reactor_thread: int) -> None:
        threads = reactor_thread, threading.get_ident()
        now, usage = self._seconds(), self._usage.read()
        detector = BlockDetector(self._turns, threads, self._stacks, self._culprit_of, now, usage)
        faults = LogRateLimit(limit=1)
        seen = self._turns.count
        is_ending = False
        while not is_ending:
            rested = self._rest() if self._turns.count == seen else 0.0
            is_ending = self._is_ending.wait(PERIOD)
            seen = self._turns.count
            try:
                self._look(detector, rested + PERIOD)
            except Exception:
                if faults.admit("", self._seconds()) is not None:
                    self._log.failure("the watchdog of the reactor failed, and continues")

    def _rest(self) -> float:
        """Waits for the reactor, which waits for something to happen. The seconds that this should have taken."""
        began = self._seconds()
        self._turns.wait(REST)
        return min(self._seconds() - began, REST)

    def _look(self, detector: BlockDetector, allowed: float) -> None:
        for block in detector.look(self._seconds(), self._usage.read(), allowed):
            if block.is_over:
                self._found.append(block)
                self._reactor.callFromThread(self._report_found)
            elif self._going_on.admit(_kind(block), self._seconds()) is not None:
                self._log_block(block, "")

    # ---- in the reactor's thread -----------------------------------------------------------------

    def _report_found(self) -> None:
        while self._found:
            block = self._found.popleft()
            milliseconds = round(block.seconds * 1000)
            self._counters.count("reactor_blocks", block.label)
            self._counters.count("reactor_blocked_seconds", block.label, milliseconds)
            self._counters.reach("reactor_longest_block_seconds", block.label, milliseconds)
            left_out = self._floods.admit(_kind(block), self._seconds())
            if left_out is not None:
                self._log_block(block, f"; {left_out} more like it were only counted" if left_out else "")

    def _sum_up(self) -> None:
        for name, label, longest in self._counters.maxima():
            if name == "reactor_longest_block_seconds":
                self._log.info(
                    "blocks of the reactor by {label}: {count}, {total} ms in sum, {longest} ms the longest",
                    count=self._counters.value("reactor_blocks", label),
                    label=label,
                    total=self._counters.value("reactor_blocked_seconds", label),
                    longest=longest,
                )

    # ---- in both ---------------------------------------------------------------------------------

    def _log_block(self, block: Block, left_out: str) -> None:
        log = self._log.warn if block.is_over else self._log.error
        culprit = block.culprit
        log(
            "the reactor {state} blocked for {milliseconds:.0f} ms {cause}: all calls {wait}; {step}"
            " ({processor:.0f} ms of processor time; stack: {stack}{left_out})",
            state="was" if block.is_over else "is",
            wait="waited" if block.is_over else "wait",
            milliseconds=block.seconds * 1000,
            cause=_cause(block),
            step=_step(block),
            processor=block.processor * 1000,
            stack=culprit.stack or "none",
            left_out=left_out,
            plugin=block.label,
            callback=culprit.callback,
        )


def _kind(block: Block) -> str:
    return f"{block.label} {block.culprit.callback}"


def _cause(block: Block) -> str:
    culprit = block.culprit
    place = f"at {culprit.file}:{culprit.line} ({culprit.function})"
    thread = f", in another thread ({_name(block.thread)}) that held the interpreter," if block.thread else ""
    match block.label:
        case culprits.PROCESS:
            return "because the process did not run (SIGSTOP, a suspended virtual machine, or no processor for it)"
        case culprits.COLLECTOR:
            return f"by the garbage collector, while {culprit.plugin} was in {culprit.callback} {place}"
        case culprits.UNKNOWN:
            return "by code that ended before its stack was read"
        case culprits.DAEMON:
            return f"by no plugin, but by the daemon{thread} {place}"
    return f"by plugin {block.label}{thread} in {culprit.callback or 'its thread'} {place}"


def _step(block: Block) -> str:
    match block.label:
        case culprits.PROCESS:
            return "no plugin is at fault, give the machine more processors if it was not stopped"
        case culprits.COLLECTOR:
            return "use fewer objects with cyclic references in plugins to shorten it"
        case culprits.UNKNOWN | culprits.DAEMON:
            return "report it with this line, unless the machine was overloaded"
    return "a plugin must not block, run slow work in a pool of threads (daemon.workers)"


def _name(thread: int | None) -> str:
    return next((found.name for found in threading.enumerate() if found.ident == thread), "ended")
