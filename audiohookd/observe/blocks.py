"""Detects blocks of the reactor and their causes (pure; the caller passes time, usage and stacks).

A turn of the reactor of 100 ms or more is a block, less the time in it that the process did not run (SIGSTOP, a
suspended virtual machine, no processor) or that another thread held the interpreter. The lateness of the watchdog,
less its own wait for a processor, shows both: while the process used no processor time, it did not run.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Final, Protocol

from msgspec import Struct

from audiohookd.observe.culprits import COLLECTOR, PROCESS, UNKNOWN, Culprit
from audiohookd.runtime.processor_time import Usage

#: Seconds after which a turn of the reactor counts as a block. Blocks of several calls add up: with 0.3 s in one
#: callback of each call, ``opened`` was 2.5 s late.
LIMIT: Final = 0.1
#: Seconds between two samples. The stack of each turn that is older is read, so each block has at least one stack.
PERIOD: Final = LIMIT / 2
#: Seconds after which a block that has not ended is reported. The interval then doubles, up to a minute.
STILL_AFTER: Final = 1.0
STILL_EVERY: Final = 60.0
#: The least share of processor time of a thread that holds the interpreter, on an overloaded machine.
RUNNING_SHARE: Final = 0.2
#: Like STILL_AFTER, for the start-up, when no call waits.
STARTING_AFTER: Final = 10.0


class Block(Struct, frozen=True):
    """A time span in which the reactor was blocked.

    :param label: the plugin's name, or one of the labels for what is no plugin.
    :param processor: seconds of processor time that the thread used.
    :param thread: another thread that held the interpreter, by its ident.
    :param is_over: False: it goes on.
    """

    label: str
    seconds: float
    culprit: Culprit = Culprit(UNKNOWN)
    processor: float = 0.0
    thread: int | None = None
    is_over: bool = True


class Turns(Protocol):
    """See :class:`audiohookd.runtime.turns.TurnTimer`."""

    began: float | None
    is_starting: bool

    def take_ended(self) -> list[tuple[float, float]]:
        """Start and end of the long turns that have ended."""


class _Turn:
    """The measurements and stack samples of one turn."""

    def __init__(self, began: float, still_after: float) -> None:
        self.began = began
        self.still_after = still_after
        self.paused = 0.0  # the process did not run
        self.held = 0.0  # by another thread
        self.collecting = 0.0
        self.processor = 0.0
        self._samples: Counter[tuple[str, str, str]] = Counter()
        self._culprits: dict[tuple[str, str, str], Culprit] = {}

    def own(self, now: float) -> float:
        """Seconds in which the turn was busy."""
        return now - self.began - self.paused - self.held

    def sample(self, culprit: Culprit) -> None:
        key = culprit.plugin, culprit.callback, culprit.function
        self._samples[key] += 1
        self._culprits[key] = culprit

    @property
    def culprit(self) -> Culprit:
        """The culprit of most samples."""
        if not self._samples:
            return Culprit(UNKNOWN)
        (key, _), *_ = self._samples.most_common(1)
        return self._culprits[key]

    def block(self, now: float, is_over: bool) -> Block:
        own, culprit = self.own(now), self.culprit
        label = COLLECTOR if self.collecting >= own / 2 else culprit.plugin
        return Block(label, own, culprit, self.processor, is_over=is_over)


class BlockDetector:
    """Finds blocks. The watchdog's thread calls :meth:`look` every :data:`PERIOD` seconds while the reactor runs.

    :param turns: of the reactor.
    :param reactor_thread: its ident, and that of the thread that asks.
    :param stacks: as ``sys._current_frames``.
    :param culprit_of: of a stack.
    """

    def __init__(
        self,
        turns: Turns,
        threads: tuple[int, int],
        stacks: Callable[[], Mapping[int, FrameType]],
        culprit_of: Callable[[FrameType | None], Culprit],
        now: float,
        usage: Usage,
    ) -> None:
        self._turns = turns
        self._reactor_thread, self._own_thread = threads
        self._stacks = stacks
        self._culprit_of = culprit_of
        self._looked = now
        self._usage = usage
        self._turn: _Turn | None = None

    def look(self, now: float, usage: Usage, allowed: float = PERIOD) -> list[Block]:
        """The blocks since the last call, and those that have lasted long enough for another report.

        :param allowed: seconds since the last look that its thread has slept on purpose.
        """
        began = self._turns.began  # read first: a turn that ends after this is reported by the next call
        spent = _difference(usage, self._usage)
        late = max(0.0, now - self._looked - allowed - spent.own_delay)
        is_stopped = spent.process < late * RUNNING_SHARE
        paused = max(late - spent.process if is_stopped else 0.0, spent.delay)
        hold = None if is_stopped else self._hold(late, spent)
        held = hold.seconds if hold is not None else 0.0
        blocks = [hold] if hold is not None else []
        paused_in_turns = 0.0
        for turn_began, ended in self._turns.take_ended():
            turn = self._turn_of(turn_began)
            paused_in_turns += self._add(turn, ended, spent, paused, held)
            blocks += _over(turn, ended)
            self._turn = None
            began = None if began == turn_began else began
        if began is None:
            self._turn = None
        else:
            self._turn = turn = self._turn_of(began)
            paused_in_turns += self._add(turn, now, spent, paused, held)
            blocks += self._sample(turn, now)
        if paused - paused_in_turns >= LIMIT:
            blocks.append(Block(PROCESS, paused - paused_in_turns, self._culprit(self._reactor_thread)))
        self._looked, self._usage = now, usage
        return blocks

    def _turn_of(self, began: float) -> _Turn:
        if self._turn is not None and self._turn.began == began:
            return self._turn
        return _Turn(began, STARTING_AFTER if self._turns.is_starting else STILL_AFTER)

    def _add(self, turn: _Turn, until: float, spent: Usage, paused: float, held: float) -> float:
        """Adds the usage since the last call to ``turn``. Returns the part of ``paused`` that was in it."""
        overlap = max(0.0, until - max(turn.began, self._looked))
        turn.paused += min(paused, overlap)
        turn.held += min(held, max(0.0, overlap - paused))
        turn.collecting += min(spent.collecting, overlap)
        turn.processor += min(spent.threads.get(self._reactor_thread, 0.0), overlap)
        return min(paused, overlap)

    def _sample(self, turn: _Turn, now: float) -> list[Block]:
        if now - turn.began < PERIOD:
            return []
        culprit = self._culprit(self._reactor_thread)
        if self._turns.began != turn.began:
            return []  # the turn has ended: the stack may belong to the next one
        turn.sample(culprit)
        if turn.own(now) < turn.still_after:
            return []
        while turn.still_after <= turn.own(now):
            turn.still_after += min(turn.still_after, STILL_EVERY)
        return [turn.block(now, is_over=False)]

    def _culprit(self, thread: int) -> Culprit:
        return self._culprit_of(self._stacks().get(thread))

    def _hold(self, late: float, spent: Usage) -> Block | None:
        """A block by another thread that held the interpreter in C code, for example in a regular expression."""
        used = {thread: seconds for thread, seconds in spent.threads.items() if thread != self._own_thread}
        thread = max(used, key=used.__getitem__, default=self._reactor_thread)
        if late < LIMIT or thread == self._reactor_thread or used[thread] < late * RUNNING_SHARE:
            return None
        culprit = self._culprit(thread)
        return Block(culprit.plugin, late, culprit, used[thread], thread)


def _over(turn: _Turn, ended: float) -> list[Block]:
    own = turn.own(ended)
    blocks = [turn.block(ended, is_over=True)] if own >= LIMIT else []
    rest = turn.paused if blocks else own + turn.paused
    return [*blocks, Block(PROCESS, rest, turn.culprit)] if rest >= LIMIT else blocks


def _difference(usage: Usage, before: Usage) -> Usage:
    return Usage(
        process=usage.process - before.process,
        threads={thread: seconds - before.threads.get(thread, 0.0) for thread, seconds in usage.threads.items()},
        delay=usage.delay - before.delay,
        own_delay=usage.own_delay - before.own_delay,
        collecting=usage.collecting - before.collecting,
    )
