"""Group commit: what all drafts have gathered is written together, by one thread, within ``flush_interval``.

The reactor thread only keeps references. At most one commit is under way, and a timer is set only while there is
something to write and no commit. What the disk refuses to one draft the others of its group do not notice; it is
tried again with the next commit.
"""

import errno
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, islice
from operator import attrgetter
from typing import NamedTuple, Protocol, cast

from msgspec import Struct
from msgspec.structs import replace
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.interfaces import IWorkers
from audiohookd.runtime.error_text import text_of
from audiohookd.runtime.loops import SupervisedLoop
from audiohookd.spool.write.append_file import SYSCALLS, Syscalls
from audiohookd.spool.write.commit_interval import CommitInterval
from audiohookd.spool.write.disk_errors import DiskErrorTracker
from audiohookd.spool.write.draft_files import DraftFiles, WriteResult
from audiohookd.spool.write.fsync import Syncer
from audiohookd.spool.write.journal_writer import Line, render

#: Drafts in one commit; when there are more, the next one follows at once. The reactor takes some µs for each, before
#: and after: of 1,400 at once that was 10 ms in which nobody was heard.
GROUP = 200
#: Seconds after which a commit that is still under way counts as a fault of the disk.
STALL_TIMEOUT = 30.0
#: Reasons why a line of a journal could not be made that are logged at most.
MAX_RENDER_ERROR_KINDS = 20

_FAULT, _DIRECTORY, _GROWN, _UNMADE = map(attrgetter, ("fault", "directory", "grown", "unmade"))


class Intervals(NamedTuple):
    """Seconds: what a ``kill -9``, and what the loss of power, costs at most. ``sync`` 0: no promise."""

    flush: float
    sync: float


class Pools(NamedTuple):
    """Threads for the commits, for what makes recordings ready, and for syncing to disk."""

    writing: IWorkers
    finishing: IWorkers
    syncing: IWorkers


class CommitLimits(Struct, frozen=True):
    """How much may wait for the disk, in bytes; what is being written counts too."""

    #: Of one draft: beyond it a commit is begun early.
    early: int = 1 << 20
    #: Of one draft: beyond it the caller is asked to hold back.
    draft: int = 8 << 20
    #: Of all drafts together: beyond it the callers are whose drafts hold more than an equal share.
    total: int = 256 << 20
    #: Silence that makes up for what was lost, of all drafts in one commit: what came since waits for it.
    silence: int = 32 << 20


class CommitItem(Struct, frozen=True, gc=False):
    """What one draft has for a commit, ``size`` bytes: see :meth:`DraftFiles.append`."""

    files: DraftFiles
    audio: list[bytes]
    journal: list[Line]
    size: int
    end: bytes | None
    is_final: bool
    is_quiet: bool  # it was refused too often to tell of the disk


class CommitSource(Protocol):
    """A draft, as the writer sees it."""

    #: Bytes that are not written yet.
    waiting: int

    def take(self) -> CommitItem:
        """All that is to be written; it goes on counting as waiting."""

    def committed(self, part: CommitItem, outcome: WriteResult) -> None:
        """What became of ``part``. Who has more to write calls ``retry``."""

    def notify_stall(self, fault: OSError) -> None:
        """Something is wrong that all givers should know of; once for each ``fault``."""


class GroupWriter:
    """Commits what drafts hold. For the reactor thread.

    :param pools: the first and the third one have a thread each, and are used for nothing else.
    :param count: as :meth:`audiohookd.observe.counters.Counters.count`.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        pools: Pools,
        intervals: Intervals,
        limits: CommitLimits,
        count: Callable[..., object],
        disk: Syscalls = SYSCALLS,
    ) -> None:
        self.limits = limits
        #: Bytes of all drafts that are not written yet; the drafts add to it.
        self.waiting = 0
        self._reactor = reactor
        self._workers = pools.writing
        self._interval = CommitInterval(intervals.flush)
        self._count = count
        self._disk_errors = DiskErrorTracker(reactor, count)
        self._syncer: Syncer | None = None
        if intervals.sync > 0:
            # Two of these and one flush: see Syncer.
            self._syncer = Syncer(reactor, pools.syncing, (intervals.sync - intervals.flush) / 2, count, disk)
        self._dirty: dict[CommitSource, None] = {}
        self._group: list[tuple[CommitSource, CommitItem]] = []  # in the commit that is under way
        self._committing = 0  # drafts in the commit that is under way, or was last
        self._unrendered: set[str] = set()  # what is in the log of lines that could not be made
        self._left = 0  # drafts of this round that are not in a commit yet; the first so many that are dirty
        loop = partial(SupervisedLoop, reactor, "spool-writer", self._commit, intervals.flush, count)
        self.loop = loop(STALL_TIMEOUT, on_demand=True)
        self.loop.start()
        self._held: list[tuple[CommitSource, Deferred[None]]] = []
        self._flushed: list[Deferred[None]] = []
        self._stall_timer: IDelayedCall | None = None
        self._begun = 0.0  # when this commit did, or the last one
        self._round_begun = 0.0
        self._lateness = 0.0  # with which this round began, in seconds
        self._due = 0.0  # when the next commit is to begin, if anything is dirty
        self._is_committing = False
        self._is_urgent = False

    @property
    def fault(self) -> str | None:
        """What is wrong with the disk just now; None when nothing is."""
        return self._disk_errors.text or (self._syncer.fault if self._syncer is not None else None)

    @property
    def loops(self) -> list[SupervisedLoop]:
        """The commits, and the rounds of syncing where there are any."""
        return [self.loop] if self._syncer is None else [self.loop, self._syncer.loop]

    @property
    def is_flushing(self) -> bool:
        """Somebody waits for the end: not the time to try again what the disk refuses."""
        return bool(self._flushed)

    def schedule(self, source: CommitSource) -> None:
        """``source`` has something to write."""
        if not self._dirty and not self._is_committing:
            self._due = self._reactor.seconds() + self._interval.period
        self._dirty[source] = None
        if source.waiting > self.limits.early or self.waiting > self.limits.total:
            self._is_urgent = True
        if self._disk_errors.stall is not None:
            source.notify_stall(self._disk_errors.stall)
        self._schedule()

    def retry(self, source: CommitSource) -> None:
        """``source`` has something left to write, with the next commit. To be called by ``settle``."""
        self._dirty[source] = None

    def backpressure(self, source: CommitSource) -> "Deferred[None] | None":
        """None, or a Deferred that fires when ``source`` should be given more again."""
        if not self._is_over(source):
            return None
        released: Deferred[None] = Deferred()
        self._held.append((source, released))
        return released

    def flush(self) -> "Deferred[None]":
        """Writes at once, until nothing waits that the disk takes; then fires. Unless more comes, that was all."""
        flushed: Deferred[None] = Deferred()
        self._flushed.append(flushed)
        self._is_urgent = True
        self._schedule()
        return flushed

    def _is_over(self, source: CommitSource) -> bool:
        if self.waiting <= self.limits.total:
            return source.waiting > self.limits.draft
        # Beyond the total those wait who have more than their share of it. While all had to, forty calls that filled
        # hours of silence at once cost every other call its audio.
        share = self.limits.total // max(1, len(self._dirty), self._committing)
        return source.waiting > min(share, self.limits.draft)

    def _schedule(self) -> None:
        """What is to happen next, unless a commit is under way: it asks again when it is done."""
        if self._is_committing:
            return
        if self._dirty and self._is_urgent:
            self.loop.run()
        elif not self._dirty:
            self._idle()
        elif not self.loop.is_waiting:
            self.loop.next_in(0.0 if self._left else max(0.0, self._due - self._reactor.seconds()))

    def _idle(self) -> None:
        self._is_urgent = False
        flushed, self._flushed = self._flushed, []
        if flushed and self._syncer is not None:
            self._syncer.pause()
        for done in flushed:
            done.callback(None)

    def _commit(self) -> "Deferred[None] | None":
        if not self._dirty:
            self._is_committing = False
            self._idle()
            return None
        self._is_committing = True
        self._begun = self._reactor.seconds()
        if not self._left:
            self._begin_round()
        self._group = list(filter(None, map(self._take, self._next_sources())))
        self._committing = len(self._group)
        self._stall_timer = self._reactor.callLater(STALL_TIMEOUT, self._stalled)
        parts = [part for _, part in self._group]
        write = partial(_write_parts, parts, self.limits.silence // max(1, len(parts)))
        written = maybeDeferred(self._workers.do, write)  # what it raises must not cost the parts
        written.addErrback(_all_failed, len(parts))
        return written.addCallback(self._written)

    def _begin_round(self) -> None:
        """All that are dirty now get their commit in this round; who gets dirty again, in the next one."""
        self._left = len(self._dirty)
        self._is_urgent = self.is_flushing
        self._round_begun = self._begun
        self._lateness = max(0.0, self._begun - self._due)
        self._due = self._begun + self._interval.period

    def _next_sources(self) -> list[CommitSource]:
        sources = list(islice(self._dirty, min(GROUP, self._left)))
        self._left -= len(sources)
        for source in sources:
            del self._dirty[source]
        return sources

    def _take(self, source: CommitSource) -> tuple[CommitSource, CommitItem] | None:
        try:
            return source, source.take()
        except Exception:  # a mistake of ours costs one draft this commit, and not the others theirs
            self._mistaken()
            self._dirty[source] = None
            return None

    def _mistaken(self) -> None:
        self._count("internal_errors")
        self._log.failure("a draft could not take part in a commit")

    def _stalled(self) -> None:
        fault = self._disk_errors.begin_stall(STALL_TIMEOUT, len(self._group))
        for source in dict.fromkeys((*(source for source, _ in self._group), *self._dirty)):
            source.notify_stall(fault)

    def _written(self, outcomes: list[WriteResult]) -> None:
        if self._stall_timer is not None and self._stall_timer.active():
            self._stall_timer.cancel()
        group, self._group = self._group, []
        try:
            self._learn(group, outcomes)
        finally:  # or the drafts would wait for ever, and with them all that they are given
            for (source, part), outcome in zip(group, outcomes, strict=True):
                self._settle(source, part, outcome)
            self._is_committing = False
            self._release()
            self._schedule()

    def _settle(self, source: CommitSource, part: CommitItem, outcome: WriteResult) -> None:
        try:
            source.committed(part, outcome)
        except Exception:
            self._mistaken()

    def _learn(self, group: list[tuple[CommitSource, CommitItem]], outcomes: list[WriteResult]) -> None:
        """What the commit says of the disk."""
        self._disk_errors.end_stall(self._reactor.seconds() - self._begun)
        if not self._left:
            self._end_round(self._reactor.seconds() - self._round_begun)
        if self._disk_errors.has_error or any(map(_FAULT, outcomes)):
            self._distribute(group, outcomes)
        for why in filter(None, map(_UNMADE, outcomes)):
            self._log_unrendered(why)
        if self._syncer is not None:
            directories = set(map(_DIRECTORY, outcomes)) - {None}
            self._syncer.mark(chain.from_iterable(map(_GROWN, outcomes)), directories)

    def _end_round(self, seconds: float) -> None:
        if seconds > self._interval.margin:
            self._count("slow_commits")
        self._interval.observe(self._lateness + seconds)

    def _log_unrendered(self, why: str) -> None:
        """Each kind once in the log: a plugin that makes a mistake makes it with every message of every call."""
        self._count("journal_entry_errors")
        if why not in self._unrendered and len(self._unrendered) < MAX_RENDER_ERROR_KINDS:
            self._unrendered.add(why)
            self._log.error("an entry of a journal could not be made: {why}; unmade_lines counts them", why=why)

    def _distribute(self, group: list[tuple[CommitSource, CommitItem]], outcomes: list[WriteResult]) -> None:
        quiet = [part.is_quiet for _, part in group]
        loud = [WriteResult() if hush else outcome for hush, outcome in zip(quiet, outcomes, strict=True)]
        self._disk_errors.record([source for source, _ in group], loud, sum(quiet))

    def _release(self) -> None:
        held, self._held = self._held, []
        for source, released in held:
            if self._is_over(source):
                self._held.append((source, released))
            else:
                released.callback(None)


def _write_parts(parts: list[CommitItem], silence: int) -> list[WriteResult]:
    """In the writer's thread. Lines are made all in one go: between the writes each would take twice as long."""
    unmade = [render(part.journal) if part.journal else "" for part in parts]
    outcomes = [_write_part(part, silence) for part in parts]
    return [replace(outcome, unmade=why) if why else outcome for outcome, why in zip(outcomes, unmade, strict=True)]


def _write_part(part: CommitItem, silence: int) -> WriteResult:
    try:
        lines = cast("Sequence[bytes]", part.journal)  # by now
        return part.files.append(part.audio, lines, part.end, part.is_final, silence)
    except Exception as mistake:  # of our own: it costs one draft this part, and not all of the group theirs
        return WriteResult(OSError(errno.EIO, f"not written: {mistake!r}"))


def _all_failed(failure: Failure, count: int) -> list[WriteResult]:
    """The pool did not do it: it has stopped."""
    fault = OSError(errno.EIO, f"not written: {text_of(failure.value)}")
    return [WriteResult(fault, audio_taken=False, lines_taken=False, is_pending=True)] * count
