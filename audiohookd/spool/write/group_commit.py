"""Group commit: one thread writes the audio and lines of all drafts together, within ``flush_interval``.

The reactor thread only keeps references. At most one commit runs at a time, and a timer is set only while there is
data to write and no commit. An error of one draft does not affect the others of its group; the next commit retries
it.
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
from audiohookd.spool.write.disk_errors import DiskErrorTracker
from audiohookd.spool.write.draft_files import DraftFiles, WriteResult
from audiohookd.spool.write.fsync import Syncer
from audiohookd.spool.write.journal_writer import Line, render

#: Most drafts in one commit; if there are more, the next commit follows at once. The reactor spends some µs on each,
#: before and after the commit: with 1,400 in one commit it read no socket for 10 ms.
GROUP = 200
#: The time from one commit to the next, as a part of ``flush``. The rest is for the commit itself. Each commit costs
#: as much as a few frames.
COMMIT_PERIOD = 0.8
#: Seconds after which a running commit counts as a disk error.
STALL_TIMEOUT = 30.0
#: Most kinds of errors of journal lines that are logged.
MAX_RENDER_ERROR_KINDS = 20

_FAULT, _DIRECTORY, _GROWN, _UNMADE = map(attrgetter, ("fault", "directory", "grown", "unmade"))


class Intervals(NamedTuple):
    """Most seconds of audio that a ``kill -9`` (``flush``) and a power loss (``sync``) cost. ``sync`` 0: no bound."""

    flush: float
    sync: float


class Pools(NamedTuple):
    """The thread pools for commits, for finalizing recordings, and for syncing to disk."""

    writing: IWorkers
    finishing: IWorkers
    syncing: IWorkers


class CommitLimits(Struct, frozen=True):
    """How many bytes may wait for the disk. Bytes of a running commit count too."""

    #: Bytes of one draft above which a commit begins early.
    early: int = 1 << 20
    #: Bytes of one draft above which its caller gets backpressure.
    draft: int = 8 << 20
    #: Bytes of all drafts together above which the drafts with more than an equal share get backpressure.
    total: int = 256 << 20
    #: Silence for lost audio that one commit writes, for all drafts together. Newer audio waits for it.
    silence: int = 32 << 20


class CommitItem(Struct, frozen=True, gc=False):
    """The data of one draft for a commit, ``size`` bytes. See :meth:`DraftFiles.append`."""

    files: DraftFiles
    audio: list[bytes]
    journal: list[Line]
    size: int
    end: bytes | None
    is_final: bool
    is_quiet: bool  # failed too often to count as a disk error


class CommitSource(Protocol):
    """A draft, as the writer sees it."""

    #: Bytes that are not written yet.
    waiting: int

    def take(self) -> CommitItem:
        """Returns all data to write. It still counts as waiting."""

    def committed(self, part: CommitItem, outcome: WriteResult) -> None:
        """Called with the result of writing ``part``. A source with more to write calls ``retry``."""

    def notify_stall(self, error: OSError) -> None:
        """Called when the disk stalls. The caller of the source gets each ``error`` once."""


class GroupWriter:
    """Commits the data of drafts. For the reactor thread.

    :param pools: ``writing`` and ``syncing`` have one thread each, and run nothing else.
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
        #: Bytes of all drafts that are not written yet. The drafts update it.
        self.waiting = 0
        self._reactor = reactor
        self._workers = pools.writing
        self._flush = intervals.flush
        self._count = count
        self._disk_errors = DiskErrorTracker(reactor, count)
        self._syncer: Syncer | None = None
        if intervals.sync > 0:
            # Audio is on disk after one flush interval and two of these: see Syncer.
            self._syncer = Syncer(reactor, pools.syncing, (intervals.sync - intervals.flush) / 2, count, disk)
        self._dirty: dict[CommitSource, None] = {}
        self._group: list[tuple[CommitSource, CommitItem]] = []  # drafts in the running commit
        self._committing = 0  # number of drafts in the running or last commit
        self._unrendered: set[str] = set()  # logged errors of lines that could not be rendered
        self._left = 0  # drafts of this round that are not in a commit yet: the first ones in _dirty
        loop = partial(SupervisedLoop, reactor, "spool-writer", self._commit, intervals.flush, count)
        self.loop = loop(STALL_TIMEOUT, on_demand=True)
        self.loop.start()
        self._held: list[tuple[CommitSource, Deferred[None]]] = []
        self._flushed: list[Deferred[None]] = []
        self._stall_timer: IDelayedCall | None = None
        self._begun = 0.0  # when the running or last commit began
        self._round_begun = 0.0
        self._due = 0.0  # when the next commit is to begin, if anything is dirty
        self._is_committing = False
        self._is_urgent = False

    @property
    def fault(self) -> str | None:
        """The current disk error of commits or syncs, or None."""
        return self._disk_errors.text or (self._syncer.fault if self._syncer is not None else None)

    @property
    def loops(self) -> list[SupervisedLoop]:
        """The loop of commits and, if ``sync`` is not 0, the loop of syncing."""
        return [self.loop] if self._syncer is None else [self.loop, self._syncer.loop]

    @property
    def is_flushing(self) -> bool:
        """Whether a :meth:`flush` is waiting: then failed writes are not retried."""
        return bool(self._flushed)

    def schedule(self, source: CommitSource) -> None:
        """Schedules a commit for ``source``, which has data to write."""
        if not self._dirty and not self._is_committing:
            self._due = self._reactor.seconds() + self._flush * COMMIT_PERIOD
        self._dirty[source] = None
        if source.waiting > self.limits.early or self.waiting > self.limits.total:
            self._is_urgent = True
        if self._disk_errors.stall is not None:
            source.notify_stall(self._disk_errors.stall)
        self._schedule()

    def retry(self, source: CommitSource) -> None:
        """Adds ``source`` to the next commit. Only for :meth:`CommitSource.committed`."""
        self._dirty[source] = None

    def backpressure(self, source: CommitSource) -> "Deferred[None] | None":
        """None, or a Deferred that fires when ``source`` may get more data."""
        if not self._is_over(source):
            return None
        released: Deferred[None] = Deferred()
        self._held.append((source, released))
        return released

    def flush(self) -> "Deferred[None]":
        """Writes at once. Fires when no data is left that can be written."""
        flushed: Deferred[None] = Deferred()
        self._flushed.append(flushed)
        self._is_urgent = True
        self._schedule()
        return flushed

    def _is_over(self, source: CommitSource) -> bool:
        if self.waiting <= self.limits.total:
            return source.waiting > self.limits.draft
        # Above the total only drafts with more than their share get backpressure. When all did, forty calls that each
        # filled hours of silence at once made every other call lose its audio.
        share = self.limits.total // max(1, len(self._dirty), self._committing)
        return source.waiting > min(share, self.limits.draft)

    def _schedule(self) -> None:
        """Begins or schedules the next commit. Does nothing while one runs: it calls this again at its end."""
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
        written = maybeDeferred(self._workers.do, write)  # an exception must not lose the parts
        written.addErrback(_all_failed, len(parts))
        return written.addCallback(self._written)

    def _begin_round(self) -> None:
        """Begins a round: it commits all drafts that are dirty now. A draft dirty again waits for the next round."""
        self._left = len(self._dirty)
        self._is_urgent = self.is_flushing
        self._round_begun = self._begun
        self._due = self._begun + self._flush * COMMIT_PERIOD

    def _next_sources(self) -> list[CommitSource]:
        sources = list(islice(self._dirty, min(GROUP, self._left)))
        self._left -= len(sources)
        for source in sources:
            del self._dirty[source]
        return sources

    def _take(self, source: CommitSource) -> tuple[CommitSource, CommitItem] | None:
        try:
            return source, source.take()
        except Exception:  # a bug must affect only this draft, not the others of the commit
            self._log_internal_error()
            self._dirty[source] = None
            return None

    def _log_internal_error(self) -> None:
        self._count("internal_errors")
        self._log.failure("internal error: the commit of a draft failed")

    def _stalled(self) -> None:
        error = self._disk_errors.begin_stall(STALL_TIMEOUT, len(self._group))
        for source in dict.fromkeys((*(source for source, _ in self._group), *self._dirty)):
            source.notify_stall(error)

    def _written(self, outcomes: list[WriteResult]) -> None:
        if self._stall_timer is not None and self._stall_timer.active():
            self._stall_timer.cancel()
        group, self._group = self._group, []
        try:
            self._update_disk_state(group, outcomes)
        finally:  # otherwise the drafts would wait for ever with all their data
            for (source, part), outcome in zip(group, outcomes, strict=True):
                self._settle(source, part, outcome)
            self._is_committing = False
            self._release()
            self._schedule()

    def _settle(self, source: CommitSource, part: CommitItem, outcome: WriteResult) -> None:
        try:
            source.committed(part, outcome)
        except Exception:
            self._log_internal_error()

    def _update_disk_state(self, group: list[tuple[CommitSource, CommitItem]], outcomes: list[WriteResult]) -> None:
        """Updates the state of the disk from the results of a commit, and marks files for syncing."""
        self._disk_errors.end_stall(self._reactor.seconds() - self._begun)
        if not self._left:
            self._end_round()
        if self._disk_errors.has_error or any(map(_FAULT, outcomes)):
            self._record_errors(group, outcomes)
        for why in filter(None, map(_UNMADE, outcomes)):
            self._log_unrendered(why)
        if self._syncer is not None:
            directories = set(map(_DIRECTORY, outcomes)) - {None}
            self._syncer.mark(chain.from_iterable(map(_GROWN, outcomes)), directories)

    def _end_round(self) -> None:
        if self._reactor.seconds() - self._round_begun > self._flush * (1 - COMMIT_PERIOD):
            self._count("slow_commits")

    def _log_unrendered(self, why: str) -> None:
        """Counts the error, and logs each kind once: a plugin's bug may occur with every message of every call."""
        self._count("journal_entry_errors")
        if why not in self._unrendered and len(self._unrendered) < MAX_RENDER_ERROR_KINDS:
            self._unrendered.add(why)
            self._log.error(
                "cannot render a journal entry of a plugin: {why}; logged once, the metric unmade_lines counts all",
                why=why,
            )

    def _record_errors(self, group: list[tuple[CommitSource, CommitItem]], outcomes: list[WriteResult]) -> None:
        quiet = [part.is_quiet for _, part in group]
        reported = [WriteResult() if hidden else outcome for hidden, outcome in zip(quiet, outcomes, strict=True)]
        self._disk_errors.record([source for source, _ in group], reported, sum(quiet))

    def _release(self) -> None:
        held, self._held = self._held, []
        for source, released in held:
            if self._is_over(source):
                self._held.append((source, released))
            else:
                released.callback(None)


def _write_parts(parts: list[CommitItem], silence: int) -> list[WriteResult]:
    """Writes all parts, in the writer thread.

    Renders all lines before the first write: between the writes each would take twice as long.
    """
    unmade = [render(part.journal) if part.journal else "" for part in parts]
    outcomes = [_write_part(part, silence) for part in parts]
    return [replace(outcome, unmade=why) if why else outcome for outcome, why in zip(outcomes, unmade, strict=True)]


def _write_part(part: CommitItem, silence: int) -> WriteResult:
    try:
        lines = cast("Sequence[bytes]", part.journal)  # render() has replaced all others
        return part.files.append(part.audio, lines, part.end, part.is_final, silence)
    except Exception as error:  # a bug must affect only this draft, not the others of the commit
        return WriteResult(OSError(errno.EIO, f"not written: {error!r}"))


def _all_failed(failure: Failure, count: int) -> list[WriteResult]:
    """The results of a commit that did not run because the pool has stopped."""
    error = OSError(errno.EIO, f"not written: {text_of(failure.value)}")
    return [WriteResult(error, audio_taken=False, lines_taken=False, is_pending=True)] * count
