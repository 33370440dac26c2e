"""The audio of a draft on disk, always in step with what was given. For the writer's thread alone.

What the disk refuses is lost, and owed: as soon as it takes something again, silence of the same length is written
before anything else. So every sample that follows stands where it was heard. Nothing of what is owed is kept in
memory but its length.
"""

import errno
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audiohookd.protocol.media import Format, Media
from audiohookd.spool import wav
from audiohookd.spool.growing import Disk, GrowingFile

#: Silence is written as references to one block of so many bytes, whole samples of any media.
BLOCK = 65_536

_SILENCE = {encoding: encoding.silence * (BLOCK // encoding.sample_bytes) for encoding in Format}


class Track:
    """A WAV file that grows by whole samples of all channels. Places in it are in bytes, the header included."""

    def __init__(self, path: Path, media: Media, disk: Disk) -> None:
        self.file = GrowingFile(path, disk)
        self.media = media
        self._header = wav.growing_header(media)
        self._start = len(self._header)  # of the audio
        self._frame = media.frame_bytes
        self._due = self._start  # where the file ends once all is in it that was given
        self._gap: int | None = None  # where the loss began that is not in `_gaps` yet
        self._gap_fault = ""
        self._gaps: list[Mapping[str, Any]] = []
        self._lost = 0  # bytes since this was asked

    @property
    def is_begun(self) -> bool:
        """The header is written."""
        return self.file.size >= self._start

    @property
    def is_owed(self) -> bool:
        """Something is missing at the end of the file, or all of it."""
        return self.file.size < self._due

    def append(self, pieces: Sequence[bytes], silence: int) -> bool:
        """Writes what is owed and then all ``pieces``.

        False when more than ``silence`` bytes were owed: that much was written, and ``pieces`` are to be given again.

        :raises OSError: not all was written; the rest of ``pieces`` is owed. TypeError: likewise; one is no bytes.
        """
        end = self._due
        try:
            if self.file.size < end:
                self._make_up(silence)
                if self.is_owed:
                    return False
            self._due += sum(map(len, pieces))
            self.file.append(pieces)
        except Exception as fault:  # whatever it is, what comes later must stand in its place
            self._due = end
            self.lose(pieces, fault)
            raise
        if self._gap is not None:
            self._end_gap(self._gap, end)
        return True

    def lose(self, pieces: Sequence[bytes], fault: Exception) -> None:
        """What of ``pieces`` was not written because of ``fault`` is owed from now on."""
        end = self._due
        self._due += sum(map(len, pieces))
        there = max(self.file.size, self._start)
        there -= (there - self._start) % self._frame
        self.file.cut(there if self.is_begun else 0)
        if self._gap is not None and there > end:
            self._end_gap(self._gap, end)
        if self._gap is None:
            self._gap, self._gap_fault = there, name_of(fault)
        self._lost += self._due - max(there, end)

    def give_up(self) -> None:
        """What is owed will never be written: the file ends where it is, and a gap that is not filled tells of it."""
        if self._gap is not None:
            self._end_gap(self._gap, self.file.size)
            self._tell(self.file.size, self._due, is_filled=False)
            self._due = self.file.size

    def gaps(self) -> list[Mapping[str, Any]]:
        """The gaps that have come to their end since this was asked: data for the journal."""
        gaps, self._gaps = self._gaps, []
        return gaps

    def lost(self) -> int:
        """The samples (per channel) that were lost since this was asked."""
        samples, self._lost = divmod(self._lost, self._frame)
        return samples

    def _make_up(self, most: int) -> None:
        """The header, if it is missing, and as much silence as is owed, but no more than ``most`` bytes."""
        if not self.is_begun:
            self.file.append((self._header,))
        size = min(self._due - self.file.size, max(most - most % self._frame, self._frame))
        blocks, rest = divmod(size, BLOCK)
        silence = _SILENCE[self.media.format]
        self.file.append([silence] * blocks + [silence[:rest]])

    def _end_gap(self, start: int, end: int) -> None:
        self._tell(start, end, is_filled=True)
        self._gap = None

    def _tell(self, start: int, end: int, is_filled: bool) -> None:
        offset = (start - self._start) // self._frame
        samples = -(-(end - self._start) // self._frame) - offset
        if samples:
            gap = {"samples": samples, "cause": "disk", "filled": is_filled, "offset": offset}
            self._gaps.append(gap | {"fault": self._gap_fault})


def name_of(fault: Exception) -> str:
    """What the system calls it: ``ENOSPC``."""
    return errno.errorcode.get(getattr(fault, "errno", None) or 0, "EINVAL")
