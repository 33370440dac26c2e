"""A recording that is being written: what the reactor's side knows of it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from audiohookd.interfaces import IDraft
from audiohookd.spool.files import DraftFiles
from audiohookd.spool.writer import GroupWriter, Part

#: Turns a draft, all of which is written, into a ready recording. Fires with the path of it.
Finish = Callable[[Mapping[str, Any]], "Deferred[Path]"]


@implementer(IDraft)
class Draft:
    """Gathers references until the writer takes them. Made by :meth:`audiohookd.spool.spool.Spool.begin`."""

    def __init__(self, recording_id: str, files: DraftFiles, writer: GroupWriter, finish: Finish) -> None:
        self.id = recording_id
        self.waiting = 0
        self._files = files
        self._writer = writer
        self._finish = finish
        self._audio: list[bytes] = []
        self._journal: list[bytes] = []
        self._fault: OSError | None = None
        self._last: Part | None = None
        self._finishing: Deferred[None] | None = None
        #: Above so many bytes waiting there is more to do than to keep a reference: one comparison per frame.
        self._attention = 0
        self._attend()

    def audio(self, data: bytes) -> "Deferred[None] | None":
        """See :class:`IDraft`.

        :raises ValueError: the draft is finished.
        """
        self._audio.append(data)
        size = len(data)
        self.waiting += size
        self._writer.waiting += size
        if self.waiting > self._attention or self._writer.waiting > self._writer.limits.total:
            self._attend()
            return self._writer.hold(self)
        return None

    def note(self, line: bytes) -> None:
        """See :class:`IDraft`. The journal of a draft that the disk refused takes nothing more, silently.

        :raises ValueError: the draft is finished, or ``line`` is more than one.
        """
        if b"\n" in line:
            raise ValueError("a line of the journal holds a line break")
        self._journal += (line, b"\n")
        self._count(len(line) + 1)
        if self._fault is None:
            self._attend()
        else:
            self._drop()

    def finish(self, recording: Mapping[str, Any]) -> "Deferred[Path]":
        """See :class:`IDraft`. What waits is written with the next commit.

        :raises ValueError: the draft is finished.
        """
        if self._fault is not None:
            return fail(_again(self._fault))
        self._attend()
        self._attention = -1
        self._last = Part(self._files, self._audio, self._journal, last=True)
        self._audio, self._journal = [], []
        self._finishing = Deferred()
        return self._finishing.addCallback(lambda _: self._finish(recording))

    def take(self) -> Part:
        """See :class:`audiohookd.spool.writer.Source`."""
        if self._last is not None:
            return self._last
        part = Part(self._files, self._audio, self._journal, last=False)
        self._audio, self._journal = [], []
        self._attention = 0
        return part

    def settle(self, part: Part, fault: OSError | None) -> None:
        """See :class:`audiohookd.spool.writer.Source`."""
        self._count(-part.size)
        if fault is not None:
            self._break(fault)
            if self._last is not None and part is not self._last:
                self._count(-self._last.size)
        if part.last or fault is not None:
            self._tell_finishing()

    def _attend(self) -> None:
        """The slow path: something is to be told to the writer, or to the caller."""
        if self._fault is not None:
            self._drop()
            raise _again(self._fault)
        if self._finishing is not None:
            self._drop()
            raise ValueError("this recording is finished")
        self._attention = self._writer.limits.early
        self._writer.attend(self)

    def _break(self, fault: OSError) -> None:
        self._fault = fault
        self._attention = -1
        self._drop()
        self._writer.forget(self)

    def _tell_finishing(self) -> None:
        if self._finishing is None:
            return
        if self._fault is None:
            self._finishing.callback(None)
        else:
            self._finishing.errback(_again(self._fault))

    def _drop(self) -> None:
        """What was just given, and cannot be written, or what never will be."""
        self._count(-Part(self._files, self._audio, self._journal, last=False).size)
        self._audio, self._journal = [], []

    def _count(self, size: int) -> None:
        self.waiting += size
        self._writer.waiting += size


def _again(fault: OSError) -> OSError:
    """A fresh exception: one that is raised time and again gathers tracebacks."""
    return OSError(fault.errno, fault.strerror, fault.filename)
