"""Writes the journal of a draft in whole lines, and renders lazy entries. Only for the writer thread."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from audiohookd.interfaces import IJournalEntry
from audiohookd.spool.write.append_file import AppendFile, Syscalls

#: Most bytes of lines that are kept while writes fail: about twenty minutes of a call's entries.
MAX_KEPT_BYTES = 262_144

#: A line with its line break, or an object that renders one.
Line = bytes | IJournalEntry


class JournalWriter:
    """Appends lines to a file that begins with the line ``first``.

    Lines that cannot be written are kept, and retried with the next ones. Beyond :data:`MAX_KEPT_BYTES`, lines are
    dropped, the newest first, and a log entry in the journal counts them.
    """

    def __init__(self, path: Path, first: bytes, disk: Syscalls) -> None:
        self.file = AppendFile(path, disk)
        self._kept = [first]
        self._dropped = 0

    @property
    def is_begun(self) -> bool:
        """Whether the first line is written."""
        return self.file.size > 0

    @property
    def has_pending(self) -> bool:
        """Whether lines are kept, or the entry about dropped lines is not written yet."""
        return bool(self._kept or self._dropped)

    def append(self, lines: Sequence[bytes], last: bytes = b"") -> None:
        """Writes the kept lines, ``lines``, and ``last``.

        :param last: a line that must not be written later, so it is not kept after an error.
        :raises OSError: not everything was written; the rest is kept, except ``last``.
        """
        if lines or self.has_pending:
            self._append(lines)
        if last:
            self._write((last,))

    def _append(self, lines: Sequence[bytes]) -> None:
        waiting, start = [*self._kept, *lines], self.file.size
        try:
            self._write(waiting)
        except OSError:
            self._keep(waiting, self.file.size - start)
            raise
        self._kept = []
        if self._dropped:
            self._write((_entry_of_dropped(self._dropped),))
            self._dropped = 0

    def _write(self, lines: Sequence[bytes]) -> None:
        if not lines:
            return
        start = self.file.size
        try:
            self.file.append(lines)
        except OSError:
            _, rest = _split(lines, self.file.size - start)
            self.file.truncate(self.file.size - rest)
            raise

    def _keep(self, lines: Sequence[bytes], written: int) -> None:
        whole, _ = _split(lines, written)
        self._kept, room = [], MAX_KEPT_BYTES
        for line in lines[whole:]:
            room -= len(line)
            if room >= 0:
                self._kept.append(line)
            else:
                self._dropped += 1


def render(lines: list[Line]) -> str:
    """Renders all lazy entries in ``lines``, in place.

    Raises nothing: an error here is a plugin's bug, and must not lose the audio of the whole commit.

    :returns: the error of an entry that could not be rendered, or an empty text.
    """
    last_error = ""
    for place, line in enumerate(lines):
        if not isinstance(line, bytes):
            lines[place], error = _render(line)
            last_error = error or last_error
    return last_error


def _render(line: IJournalEntry) -> tuple[bytes, str]:
    try:
        data = line()
        if not isinstance(data, bytes) or b"\n" in data:
            raise TypeError("an IJournalEntry must return one line as bytes")
        return data + b"\n", ""
    except BaseException as raised:  # a SystemExit of a plugin must not end the writer thread
        # Only the type: the text of the exception may contain a message of the call, or raise as well.
        error = f"{type(line).__qualname__}: {type(raised).__name__}"
        return _entry(f"a journal entry that belongs here could not be rendered: {error}"), error


def _split(lines: Sequence[bytes], size: int) -> tuple[int, int]:
    """The number of whole lines in the first ``size`` bytes of ``lines``, and the number of bytes left over."""
    for number, line in enumerate(lines):
        if size < len(line):
            return number, size
        size -= len(line)
    return len(lines), 0


def _entry_of_dropped(count: int) -> bytes:
    return _entry(f"dropped {count} journal entries that belong here: they could not be written to disk")


def _entry(message: str) -> bytes:
    data = {"level": 40, "msg": message}
    return msgspec.json.encode({"timestamp": "PT0S", "type": "logger", "data": data}) + b"\n"
