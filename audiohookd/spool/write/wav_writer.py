"""Writes the audio of a draft, and replaces lost audio by silence. Only for the writer thread.

Audio that cannot be written is lost. When the disk recovers, silence of the same length is written before any other
audio, so that each later sample keeps its position. Only the length of the lost audio is kept in memory. The journal
entry for the gap is written before the silence: with the opposite order, a ``kill -9`` between the two left silence
that no entry explained.
"""

import errno
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from audiohookd.protocol.media import Format, Media
from audiohookd.spool.format import wav
from audiohookd.spool.format.checksums import Checksum, RunningChecksum, crc32_of
from audiohookd.spool.write.append_file import AppendFile, Syscalls

#: Silence is written as references to one block of this many bytes: whole samples of any media.
BLOCK = 65_536

_SILENCE = {encoding: encoding.silence * (BLOCK // encoding.sample_bytes) for encoding in Format}


class WavWriter:
    """A WAV file that grows by whole samples of all channels. Positions in it are in bytes, header included."""

    def __init__(self, path: Path, media: Media, disk: Syscalls) -> None:
        self.file = AppendFile(path, disk)
        self.media = media
        self._header = wav.growing_header(media)
        self._start = len(self._header)  # of the audio
        self._frame = media.frame_bytes
        self._expected_end = self._start  # the end of the file if all audio so far were in it
        self._gap: int | None = None  # start of the lost audio that is not replaced by silence yet
        self._gap_error = ""
        self._journaled = 0  # end of the gap in its journal entry
        self._lost = 0  # bytes since the last call of lost()
        self._running = RunningChecksum()

    @property
    def is_begun(self) -> bool:
        """Whether the header is written."""
        return self.file.size >= self._start

    @property
    def has_pending_silence(self) -> bool:
        """Whether lost audio at the end of the file is not replaced by silence yet."""
        return self._gap is not None

    def write_silence(self, silence: int, write_gap: Callable[[Mapping[str, Any]], None]) -> None:
        """Writes silence for lost audio, but no more than ``silence`` bytes.

        :param write_gap: called with the data of the journal entry for the gap, before its silence is written, and
            again if the same gap has grown.
        :raises OSError: a write of the silence, or of the entry, failed.
        """
        most = max(silence - silence % self._frame, self._frame)
        while self._gap is not None and most:
            if self._end >= self._journaled:
                for gap in self._gaps(self._gap, self._expected_end, is_filled=True):
                    write_gap(gap)
                self._journaled = self._expected_end
            if self.file.size < self._start:
                self.file.append((self._header,))
            size = min(self._journaled - self.file.size, most)
            self._write_silence(size)
            most -= size
            if self.file.size == self._expected_end:
                self._gap = None

    def append(self, pieces: Sequence[bytes]) -> None:
        """Writes all ``pieces``. Call it only without pending silence.

        :raises OSError: not everything was written; the rest of ``pieces`` becomes a gap.
        :raises TypeError: one of ``pieces`` is not bytes; the rest becomes a gap, too.
        """
        try:
            self.file.append(pieces if self.file.size else (self._header, *pieces))
        except Exception as error:  # any kind: later audio must keep its position
            self.record_loss(pieces, error)
            raise
        self._expected_end = self.file.size
        self._running.add(pieces)

    def record_loss(self, pieces: Sequence[bytes], error: Exception) -> None:
        """Records that a part of ``pieces``, or all, was not written because of ``error``. It becomes a gap."""
        self._running.crc32 = None  # some of them may be in the file
        end = self._expected_end
        self._expected_end += sum(map(len, pieces))
        written = self._end - (self._end - self._start) % self._frame
        self.file.truncate(written if self.file.size >= self._start else 0)
        if self._gap is None:
            self._gap, self._gap_error, self._journaled = written, name_of(error), written
        self._lost += self._expected_end - max(written, end)

    def abandon(self) -> list[Mapping[str, Any]]:
        """Gives up the pending silence: the file ends where it is.

        :returns: data for journal entries: the part of the gap that is filled, and the part that is not.
        """
        if self._gap is None:
            return []
        filled = self._gaps(self._gap, self._end, is_filled=True)
        missing = self._gaps(self._end, self._expected_end, is_filled=False)
        self._expected_end, self._gap = self._end, None
        return filled + missing

    def checksum(self) -> Checksum | None:
        """The checksum of the audio since the last one. None if there is no such audio, or if it cannot be read now.

        Also None while the file ends with an incomplete sample, which may be truncated again.
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
        """Records that ``checksum`` is in the journal. The next one begins where it ends."""
        self._running.restart(checksum.end)

    def lost(self) -> int:
        """The samples (per channel) that were lost since the last call."""
        samples, self._lost = divmod(self._lost, self._frame)
        return samples

    @property
    def _end(self) -> int:
        """The position where the audio in the file ends, even before the header is written."""
        return max(self.file.size, self._start)

    def _write_silence(self, size: int) -> None:
        blocks, rest = divmod(size, BLOCK)
        silence = _SILENCE[self.media.format]
        self._running.crc32 = None
        self.file.append([silence] * blocks + [silence[:rest]])

    def _gaps(self, start: int, end: int, is_filled: bool) -> list[Mapping[str, Any]]:
        """The data of one gap from ``start`` to ``end``; empty if there is no sample between them."""
        offset = (start - self._start) // self._frame
        samples = -(-(end - self._start) // self._frame) - offset
        if not samples:
            return []
        gap = {"samples": samples, "cause": "disk", "filled": is_filled, "offset": offset}
        return [gap | {"fault": self._gap_error}]


def name_of(error: Exception) -> str:
    """The name of the error code, such as ``ENOSPC``."""
    return errno.errorcode.get(getattr(error, "errno", None) or 0, "EINVAL")
