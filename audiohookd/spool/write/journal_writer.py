"""The journal of a draft on disk, in whole lines. For the writer's thread alone."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from audiohookd.interfaces import ILine
from audiohookd.spool.write.append_file import AppendFile, Syscalls

#: Bytes of lines that are kept for a disk that does not take them: some twenty minutes of a call's.
MAX_KEPT_BYTES = 262_144

#: With its line break; or what will be such a line.
Line = bytes | ILine


class JournalWriter:
    """Lines in a file that begins with ``first``.

    What the disk refuses is kept, and tried again with the next lines. What is too much for that is dropped, the
    newest first, and an entry says so.
    """

    def __init__(self, path: Path, first: bytes, disk: Syscalls) -> None:
        self.file = AppendFile(path, disk)
        self._kept = [first]
        self._dropped = 0

    @property
    def is_begun(self) -> bool:
        """The first line is written."""
        return self.file.size > 0

    @property
    def has_pending(self) -> bool:
        """Something is kept, or remains to be said."""
        return bool(self._kept or self._dropped)

    def append(self, lines: Sequence[bytes], last: bytes = b"") -> None:
        """Writes all that is kept, ``lines``, and ``last``, which is true only when it is written now.

        :raises OSError: not all was written; the rest is kept, but for ``last``.
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
    """Makes those of ``lines`` that are not made yet, in their places. What is wrong with one that cannot be made.

    Raises nothing: that is a plugin's mistake, and no reason to lose the audio of all that are written together.
    """
    wrong = ""
    for place, line in enumerate(lines):
        if not isinstance(line, bytes):
            lines[place], mistake = _render(line)
            wrong = mistake or wrong
    return wrong


def _render(line: ILine) -> tuple[bytes, str]:
    try:
        data = line()
        if not isinstance(data, bytes) or b"\n" in data:
            raise TypeError("that is not one line")
        return data + b"\n", ""
    except BaseException as mistake:  # a thread of ours: nobody means it by SystemExit
        # No more than that: what it says of itself may be a message of a call, or fail as well.
        wrong = f"{type(line).__qualname__}: {type(mistake).__name__}"
        return _entry(f"an entry that should stand here could not be made: {wrong}"), wrong


def _split(lines: Sequence[bytes], size: int) -> tuple[int, int]:
    """How many whole lines ``size`` bytes of them are, and the bytes that are left over."""
    for number, line in enumerate(lines):
        if size < len(line):
            return number, size
        size -= len(line)
    return len(lines), 0


def _entry_of_dropped(count: int) -> bytes:
    return _entry(f"the disk refused {count} entries that should stand here")


def _entry(message: str) -> bytes:
    said = {"level": 40, "msg": message}
    return msgspec.json.encode({"timestamp": "PT0S", "type": "logger", "data": said}) + b"\n"
