"""A recording that is being written: what the reactor's side knows of it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from audiohookd.interfaces import IDraft
from audiohookd.spool.format.journal import finished_line
from audiohookd.spool.write.draft_files import DraftFiles, WriteResult
from audiohookd.spool.write.group_commit import CommitItem, GroupWriter
from audiohookd.spool.write.journal_writer import Line

#: Makes a ready recording of a draft whose files are closed. Fires with the path of it.
Finish = Callable[[], "Deferred[Path]"]

#: Refusals after which a recording that has ended is tried on quietly: what is wrong may be its files alone, and no
#: call shall be refused for that.
LOGGED_RETRIES = 3
#: Refusals, while the disk refuses nobody else, after which it is as it is: ten minutes of them by default.
MAX_RETRIES = 2_000

_NO_LINES: list[Line] = []


@implementer(IDraft)
class Draft:
    """Gathers references until the writer takes them. Made by :meth:`audiohookd.spool.spool.Spool.begin`.

    :param finish: called once all is written. At the stop, and when the files of this draft alone are refused for
        long, it is called all the same: then the recording is like one that a crash ended.
    """

    def __init__(self, recording_id: str, files: DraftFiles, writer: GroupWriter, finish: Finish) -> None:
        self.id = recording_id
        self.waiting = 0
        self._files = files
        self._writer = writer
        self._finish = finish
        self._audio: list[bytes] = []
        self._journal: list[Line] = []
        self._unreported: OSError | None = None  # to be raised once
        self._alarm: OSError | None = None  # the last one from outside
        self._is_affected = False
        self._end: bytes | None = None  # the last line of the journal
        self._failures = 0  # since there is one
        self._finishing: Deferred[None] = Deferred()
        #: Above so many bytes waiting there is more to do than to keep a reference: one comparison per frame.
        self._schedule_at = writer.limits.early
        writer.schedule(self)

    def audio(self, data: bytes) -> "Deferred[None] | None":
        """See :class:`IDraft`.

        :raises ValueError: the draft is finished.
        """
        self._audio.append(data)
        size = len(data)
        self.waiting += size
        self._writer.waiting += size
        if self.waiting > self._schedule_at or self._writer.waiting > self._writer.limits.total:
            self._schedule(self._audio, size)
            return self._writer.backpressure(self)
        return None

    def note(self, line: Line) -> "Deferred[None] | None":
        """See :class:`IDraft`.

        :raises ValueError: the draft is finished, or ``line`` is more than one. TypeError: it is none.
        """
        if isinstance(line, bytes):
            if b"\n" in line:
                raise ValueError("a line of the journal holds a line break")
            line += b"\n"
        elif not callable(line):
            raise TypeError(f"a line of the journal is bytes, or an ILine, and not {line!r}")
        size = len(line)
        self._journal.append(line)
        self.waiting += size
        self._writer.waiting += size
        if self.waiting > self._schedule_at or self._writer.waiting > self._writer.limits.total:
            self._schedule(self._journal, size)
            return self._writer.backpressure(self)
        return None

    def finish(self, recording: Mapping[str, Any]) -> "Deferred[Path]":
        """See :class:`IDraft`. What waits is written with the next commit.

        :raises ValueError: the draft is finished.
        """
        if self._end is not None:
            raise ValueError("this recording is finished")
        self._end = finished_line(recording) + b"\n"
        self._schedule_at = -1
        self._writer.schedule(self)
        return self._finishing.addCallback(lambda _: self._finish())

    def take(self) -> CommitItem:
        """See :class:`audiohookd.spool.write.group_commit.Source`."""
        is_final = self._failures > 0 and (
            self._writer.is_flushing or (self._failures >= MAX_RETRIES and self._writer.fault is None)
        )
        is_quiet = self._failures >= LOGGED_RETRIES
        part = CommitItem(
            self._files, self._audio, self._journal or _NO_LINES, self.waiting, self._end, is_final, is_quiet
        )
        self._audio = []
        if self._journal:
            self._journal = []
        if self._end is None:
            self._schedule_at = 0
        return part

    def committed(self, part: CommitItem, outcome: WriteResult) -> None:
        """See :class:`audiohookd.spool.write.group_commit.Source`."""
        gives_up = part.is_final and outcome.fault is not None
        self._count(-part.size)
        if not (outcome.audio_taken or gives_up):
            self._audio = part.audio + self._audio
            self._count(sum(map(len, part.audio)))
        if not (outcome.lines_taken or gives_up):
            self._journal = [*part.journal, *self._journal]
            self._count(part.size - sum(map(len, part.audio)))
        self._update_fault(outcome.fault)
        if outcome.is_pending and not gives_up:
            self._go_on(part, outcome.fault)
        elif part.end is not None:
            self._fire(outcome.fault)

    def notify_stall(self, fault: OSError) -> None:
        """See :class:`audiohookd.spool.write.group_commit.Source`."""
        if fault is not self._alarm:
            self._alarm = self._unreported = fault
            self._schedule_at = -1

    def _update_fault(self, fault: OSError | None) -> None:
        """Only the first one in a row is told."""
        if fault is not None and not self._is_affected:
            self._unreported = fault
            self._schedule_at = -1
        self._is_affected = fault is not None

    def _go_on(self, part: CommitItem, fault: OSError | None) -> None:
        """There is more to write; but at the stop a draft without an end does not wait for a disk that refuses."""
        if part.end is not None:
            self._failures += fault is not None
        if self._end is not None or fault is None or not self._writer.is_flushing:
            self._writer.retry(self)

    def _fire(self, fault: OSError | None) -> None:
        if isinstance(fault, FileExistsError):
            self._finishing.errback(_again(fault))  # what is on disk is another one's
        else:
            self._finishing.callback(None)

    def _schedule(self, gathered: list[Any], size: int) -> None:
        """The slow path: something is to be told to the writer, or to the caller, who added ``size`` bytes."""
        if self._end is not None:
            gathered.pop()
            self._count(-size)
            raise ValueError("this recording is finished")
        self._schedule_at = self._writer.limits.early
        self._writer.schedule(self)
        if self._unreported is not None:
            fault, self._unreported = self._unreported, None
            raise _again(fault)

    def _count(self, size: int) -> None:
        self.waiting += size
        self._writer.waiting += size


def _again(fault: OSError) -> OSError:
    """A fresh exception: one that is raised time and again gathers tracebacks."""
    return OSError(fault.errno, fault.strerror, fault.filename)
