"""The audio of a draft on disk, always in step with what was given. For the writer's thread alone.

What the disk refuses is lost, and owed: as soon as it takes something again, silence of the same length is written
before anything else. So every sample that follows stands where it was heard. Nothing of what is owed is kept in
memory but its length. The journal is told first: a ``kill -9`` in between left silence that nothing told of.
"""

import errno
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from audiohookd.protocol.media import Format, Media
from audiohookd.spool.format import wav
from audiohookd.spool.format.checksums import Checksum, RunningChecksum, crc32_of
from audiohookd.spool.write.append_file import AppendFile, Syscalls

#: Silence is written as references to one block of so many bytes, whole samples of any media.
BLOCK = 65_536

_SILENCE = {encoding: encoding.silence * (BLOCK // encoding.sample_bytes) for encoding in Format}


class WavWriter:
    """A WAV file that grows by whole samples of all channels. Places in it are in bytes, the header included."""

    def __init__(self, path: Path, media: Media, disk: Syscalls) -> None:
        self.file = AppendFile(path, disk)
        self.media = media
        self._header = wav.growing_header(media)
        self._start = len(self._header)  # of the audio
        self._frame = media.frame_bytes
        self._expected_end = self._start  # where the file ends once all is in it that was given
        self._gap: int | None = None  # where the loss began that is not made up for yet
        self._gap_fault = ""
        self._journaled = 0  # up to where the journal knows of it
        self._lost = 0  # bytes since this was asked
        self._running = RunningChecksum()

    @property
    def is_begun(self) -> bool:
        """The header is written."""
        return self.file.size >= self._start

    @property
    def has_pending_silence(self) -> bool:
        """Something was lost at the end of the file, or all of it, and no silence stands there yet."""
        return self._gap is not None

    def write_silence(self, silence: int, tell: Callable[[Mapping[str, Any]], None]) -> None:
        """Writes what is owed, but no more than ``silence`` bytes.

        :param tell: gets a gap, as data for the journal, before there is silence that it tells of; again when the
            same gap has grown.
        :raises OSError: the disk refused, be it what ``tell`` wrote.
        """
        most = max(silence - silence % self._frame, self._frame)
        while self._gap is not None and most:
            if self._end >= self._journaled:
                for gap in self._gaps(self._gap, self._expected_end, is_filled=True):
                    tell(gap)
                self._journaled = self._expected_end
            if self.file.size < self._start:
                self.file.append((self._header,))
            size = min(self._journaled - self.file.size, most)
            self._write_silence(size)
            most -= size
            if self.file.size == self._expected_end:
                self._gap = None

    def append(self, pieces: Sequence[bytes]) -> None:
        """Writes all ``pieces``, while nothing is owed.

        :raises OSError: not all was written; the rest of ``pieces`` is owed. TypeError: likewise; one is no bytes.
        """
        try:
            self.file.append(pieces if self.file.size else (self._header, *pieces))
        except Exception as fault:  # whatever it is, what comes later must stand in its place
            self.record_loss(pieces, fault)
            raise
        self._expected_end = self.file.size
        self._running.add(pieces)

    def record_loss(self, pieces: Sequence[bytes], fault: Exception) -> None:
        """What of ``pieces`` was not written because of ``fault`` is owed from now on."""
        self._running.crc32 = None  # some of them may be in the file
        end = self._expected_end
        self._expected_end += sum(map(len, pieces))
        there = self._end - (self._end - self._start) % self._frame
        self.file.truncate(there if self.file.size >= self._start else 0)
        if self._gap is None:
            self._gap, self._gap_fault, self._journaled = there, name_of(fault), there
        self._lost += self._expected_end - max(there, end)

    def abandon(self) -> list[Mapping[str, Any]]:
        """What is owed will never be written: the file ends where it is, and a gap that is not filled tells of it."""
        if self._gap is None:
            return []
        filled = self._gaps(self._gap, self._end, is_filled=True)
        missing = self._gaps(self._end, self._expected_end, is_filled=False)
        self._expected_end, self._gap = self._end, None
        return filled + missing

    def checksum(self) -> Checksum | None:
        """Of what is in the file and has none yet; None when there is nothing of that, or it cannot be read now.

        A sample that is not whole may be cut off again, and gets none.
        """
        running, end = self._running, self._end - self._start
        if end == running.start or end % self._frame:
            return None
        if running.crc32 is None:
            try:
                running.crc32 = crc32_of(self.file.read(self._start + running.start))
            except OSError:
                return None
        return Checksum(end, running.crc32)

    def checksum_written(self, checksum: Checksum) -> None:
        """``checksum`` is in the journal."""
        self._running.restart(checksum.end)

    def lost(self) -> int:
        """The samples (per channel) that were lost since this was asked."""
        samples, self._lost = divmod(self._lost, self._frame)
        return samples

    @property
    def _end(self) -> int:
        """Of the audio in the file, even before its header is there."""
        return max(self.file.size, self._start)

    def _write_silence(self, size: int) -> None:
        blocks, rest = divmod(size, BLOCK)
        silence = _SILENCE[self.media.format]
        self._running.crc32 = None
        self.file.append([silence] * blocks + [silence[:rest]])

    def _gaps(self, start: int, end: int, is_filled: bool) -> list[Mapping[str, Any]]:
        """One, or none when there is no sample between the two places."""
        offset = (start - self._start) // self._frame
        samples = -(-(end - self._start) // self._frame) - offset
        if not samples:
            return []
        gap = {"samples": samples, "cause": "disk", "filled": is_filled, "offset": offset}
        return [gap | {"fault": self._gap_fault}]


def name_of(fault: Exception) -> str:
    """What the system calls it: ``ENOSPC``."""
    return errno.errorcode.get(getattr(fault, "errno", None) or 0, "EINVAL")
