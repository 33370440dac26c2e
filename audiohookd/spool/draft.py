"""The reactor side of a recording in progress: collects audio and journal lines until the writer takes them."""

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

#: Turns a draft with closed files into a ready recording. Fires with the path of the recording.
Finish = Callable[[], "Deferred[Path]"]

#: Failed writes of the end of a recording that count as a disk error. Later ones are retried without a log line: the
#: fault may lie in these files only, and must not make the daemon reject new calls.
LOGGED_RETRIES = 3
#: Failed writes of the end of a recording, while all others succeed, after which the draft gives up: ten minutes of
#: retries by default.
MAX_RETRIES = 2_000

_NO_LINES: list[Line] = []


@implementer(IDraft)
class Draft:
    """Collects references to audio and lines until the writer takes them.

    :meth:`audiohookd.spool.spool.Spool.begin` creates drafts.

    :param finish: called when everything is written. It is also called at shutdown, and when writes fail for a long
        time for the files of this draft only: the recording then ends as after a crash.
    """

    def __init__(self, recording_id: str, files: DraftFiles, writer: GroupWriter, finish: Finish) -> None:
        self.id = recording_id
        self.waiting = 0
        self._files = files
        self._writer = writer
        self._finish = finish
        self._audio: list[bytes] = []
        self._journal: list[Line] = []
        self._unreported: OSError | None = None  # raised once, by the next call of audio or note
        self._alarm: OSError | None = None  # the last error of notify_stall
        self._is_affected = False
        self._end: bytes | None = None  # the last line of the journal
        self._failures = 0  # failed writes since the draft has its last line
        self._finishing: Deferred[None] = Deferred()
        #: Above this many waiting bytes, audio and note take the slow path. The fast path costs one comparison.
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

    def add_entry(self, line: Line) -> "Deferred[None] | None":
        """See :class:`IDraft`.

        :raises ValueError: the draft is finished, or ``line`` contains a line break.
        :raises TypeError: ``line`` is neither bytes nor an IJournalEntry.
        """
        if isinstance(line, bytes):
            if b"\n" in line:
                raise ValueError("a line of the journal must not contain a line break")
            line += b"\n"
        elif not callable(line):
            raise TypeError(f"a line of the journal must be bytes or an IJournalEntry, not {line!r}")
        size = len(line)
        self._journal.append(line)
        self.waiting += size
        self._writer.waiting += size
        if self.waiting > self._schedule_at or self._writer.waiting > self._writer.limits.total:
            self._schedule(self._journal, size)
            return self._writer.backpressure(self)
        return None

    def finish(self, recording: Mapping[str, Any]) -> "Deferred[Path]":
        """See :class:`IDraft`. The next commit writes the waiting audio and lines.

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
        self._update_error(outcome.fault)
        if outcome.is_pending and not gives_up:
            self._retry_rest(part, outcome.fault)
        elif part.end is not None:
            self._end_writing(outcome.fault)

    def notify_stall(self, error: OSError) -> None:
        """See :class:`audiohookd.spool.write.group_commit.Source`."""
        if error is not self._alarm:
            self._alarm = self._unreported = error
            self._schedule_at = -1

    def _update_error(self, error: OSError | None) -> None:
        """Keeps the first error of an episode for the caller; later ones of the same episode are not raised."""
        if error is not None and not self._is_affected:
            self._unreported = error
            self._schedule_at = -1
        self._is_affected = error is not None

    def _retry_rest(self, part: CommitItem, error: OSError | None) -> None:
        """Schedules the next write. At shutdown, a draft without an end is not retried after an error."""
        if part.end is not None:
            self._failures += error is not None
        if self._end is not None or error is None or not self._writer.is_flushing:
            self._writer.retry(self)

    def _end_writing(self, error: OSError | None) -> None:
        if isinstance(error, FileExistsError):
            self._finishing.errback(_copy_of(error))  # the files on disk belong to another recording
        else:
            self._finishing.callback(None)

    def _schedule(self, gathered: list[Any], size: int) -> None:
        """The slow path of :meth:`audio` and :meth:`add_entry`, after ``size`` bytes were added to ``gathered``.

        :raises ValueError: the draft is finished. OSError: an error that was not yet raised.
        """
        if self._end is not None:
            gathered.pop()
            self._count(-size)
            raise ValueError("this recording is finished")
        self._schedule_at = self._writer.limits.early
        self._writer.schedule(self)
        if self._unreported is not None:
            error, self._unreported = self._unreported, None
            raise _copy_of(error)

    def _count(self, size: int) -> None:
        self.waiting += size
        self._writer.waiting += size


def _copy_of(error: OSError) -> OSError:
    """A copy of ``error``: an exception that is raised repeatedly accumulates tracebacks."""
    return OSError(error.errno, error.strerror, error.filename)
