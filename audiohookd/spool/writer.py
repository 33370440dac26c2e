"""Group commit: what all drafts have gathered is written together, by one thread, each ``flush_interval``.

The reactor thread only keeps references. At most one commit is under way, and a timer is set only while there is
something to write and no commit. A draft whose write fails is out; the others of its group do not notice.
"""

import errno
from functools import partial
from typing import Any, NamedTuple, Protocol

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from audiohookd.interfaces import IWorkers
from audiohookd.spool.files import DraftFiles


class Limits(Struct, frozen=True):
    """How much may wait for the disk, in bytes; what is being written counts too."""

    #: Of one draft: beyond it a commit is begun early.
    early: int = 1 << 20
    #: Of one draft: beyond it the caller is asked to hold back.
    draft: int = 8 << 20
    #: Of all drafts together: beyond it the callers are whose drafts hold more than an equal share.
    total: int = 256 << 20


class Part(NamedTuple):
    """What one draft has for a commit. ``last``: nothing will follow."""

    files: DraftFiles
    audio: list[bytes]
    journal: list[bytes]
    last: bool

    @property
    def size(self) -> int:
        """Bytes of audio and journal."""
        return sum(map(len, self.audio)) + sum(map(len, self.journal))


class Source(Protocol):
    """A draft, as the writer sees it."""

    #: Bytes that are not written yet.
    waiting: int

    def take(self) -> Part:
        """All that is to be written; it goes on counting as waiting."""

    def settle(self, part: Part, fault: OSError | None) -> None:
        """``part`` is written, or it failed; then this draft will never be taken from again."""


class GroupWriter:
    """Commits what drafts hold. For the reactor thread.

    :param workers: a pool with one thread, used for nothing else.
    :param flush_interval: seconds.
    """

    def __init__(
        self, reactor: IReactorTime, workers: IWorkers, flush_interval: float, limits: Limits
    ) -> None:
        self.limits = limits
        #: Bytes of all drafts that are not written yet; the drafts add to it.
        self.waiting = 0
        self._reactor = reactor
        self._workers = workers
        self._flush_interval = flush_interval
        self._dirty: dict[Source, None] = {}
        self._held: list[tuple[Source, Deferred[None]]] = []
        self._flushed: list[Deferred[None]] = []
        self._timer: IDelayedCall | None = None
        self._is_committing = False
        self._committing = 0  # drafts in the commit that is under way, or was last
        self._is_urgent = False

    def attend(self, source: Source) -> None:
        """``source`` has something to write."""
        self._dirty[source] = None
        if source.waiting > self.limits.early or self.waiting > self.limits.total:
            self._is_urgent = True
        self._schedule()

    def hold(self, source: Source) -> "Deferred[None] | None":
        """None, or a Deferred that fires when ``source`` should be given more again."""
        if not self._is_over(source):
            return None
        released: Deferred[None] = Deferred()
        self._held.append((source, released))
        return released

    def forget(self, source: Source) -> None:
        """``source`` has nothing to write any more."""
        self._dirty.pop(source, None)

    def flush(self) -> "Deferred[None]":
        """Writes at once, until nothing waits; then fires."""
        flushed: Deferred[None] = Deferred()
        self._flushed.append(flushed)
        self._is_urgent = True
        self._schedule()
        return flushed

    def _is_over(self, source: Source) -> bool:
        if source.waiting > self.limits.draft:
            return True
        # Beyond the total those wait who have more than their share of it. While all had to, forty calls that filled
        # hours of silence at once cost every other call its audio.
        share = self.limits.total // max(1, len(self._dirty), self._committing)
        return self.waiting > self.limits.total and source.waiting > share

    def _schedule(self) -> None:
        """What is to happen next, unless a commit is under way: it asks again when it is done."""
        if self._is_committing:
            return
        if self._dirty and self._is_urgent:
            self._commit()
        elif not self._dirty:
            self._idle()
        elif self._timer is None:
            self._timer = self._reactor.callLater(self._flush_interval, self._commit)

    def _idle(self) -> None:
        self._is_urgent = False
        flushed, self._flushed = self._flushed, []
        for done in flushed:
            done.callback(None)

    def _commit(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._is_committing = True
        self._is_urgent = bool(self._flushed)
        group = [(source, source.take()) for source in self._dirty]
        self._dirty = {}
        self._committing = len(group)
        written = self._workers.do(partial(_write_parts, [part for _, part in group]))
        written.addErrback(_all_failed, len(group))
        written.addCallback(self._written, group)

    def _written(self, faults: list[OSError | None], group: list[tuple[Source, Part]]) -> None:
        self._is_committing = False
        for (source, part), fault in zip(group, faults, strict=True):
            source.settle(part, fault)
        self._release()
        self._schedule()

    def _release(self) -> None:
        held, self._held = self._held, []
        for source, released in held:
            if self._is_over(source):
                self._held.append((source, released))
            else:
                released.callback(None)


def _write_parts(parts: list[Part]) -> list[OSError | None]:
    """In the writer's thread."""
    return [_write_part(part) for part in parts]


def _write_part(part: Part) -> OSError | None:
    try:
        part.files.append(part.audio, part.journal, part.last)
    except OSError as fault:
        return fault
    except (TypeError, ValueError) as fault:  # what a plugin gave is no bytes: its own draft pays for it alone
        return OSError(errno.EINVAL, f"not written: {fault}")
    return None


def _all_failed(failure: Failure, count: int) -> list[Any]:
    """The pool did not do it: it has stopped."""
    fault = OSError(errno.EIO, f"not written: {failure.getErrorMessage()}")
    return [fault] * count
