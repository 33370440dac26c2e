"""Checksums of the audio of a draft, one for each commit, as lines of its journal.

A file system may write the size of a file to the disk before its data: ext4 does so with delayed allocation, when the
``fsync`` of another file commits its journal. After a power loss, up to a block of zero bytes then follows the audio
that was synced, and 0x00 is full scale in mu-law. The writer writes a checksum after the audio it covers. So audio
that matches was received, and audio that does not match, or is shorter than a checksum says, was damaged by a power
loss.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple
from zlib import crc32

#: The name of the checksums' algorithm in the first line of a journal.
ALGORITHM = "crc32"
#: The largest block that a file system leaves unwritten: a page of memory.
BLOCK = 4096

_START = b'{"timestamp":"PT0S","type":"checksum","data":{"end":'
_LINE = re.compile(_START + rb'(\d{1,18}),"crc32":(\d{1,10})\}\}\n')
_PORTION = 1 << 20
#: Frames of 20 ms that are joined for one call of zlib: 25 single calls took 8 µs. Above 5 KiB (16 frames of 320
#: bytes) zlib releases the GIL, and a busy reactor returns it up to 5 ms later.
_JOINED = 16


class Checksum(NamedTuple):
    """CRC-32 of the audio from the end of the previous checksum to ``end``, a position in bytes of audio."""

    end: int
    crc32: int


class Verified(NamedTuple):
    """The verified ``size`` of the audio, and how much was ``written`` according to the journal."""

    size: int
    written: int


class RunningChecksum:
    """Computes the checksum of the audio that is appended to one draft."""

    def __init__(self) -> None:
        #: Where the previous checksum ends, in bytes of audio.
        self.start = 0
        #: None if some audio since ``start`` was not added: the checksum must be computed from the file.
        self.crc32: int | None = 0

    def add(self, pieces: Sequence[bytes]) -> None:
        """Adds ``pieces``, which were appended to the audio."""
        value = self.crc32
        if value is not None:
            if len(pieces) > _JOINED:
                pieces = [b"".join(pieces[start : start + _JOINED]) for start in range(0, len(pieces), _JOINED)]
            self.crc32 = crc32_of(pieces, value)

    def restart(self, start: int) -> None:
        """Begins the next checksum at ``start``, in bytes of audio."""
        self.start, self.crc32 = start, 0


def checksum_line(checksum: Checksum) -> bytes:
    """The line of the journal for ``checksum``, with its line break."""
    return b'%b%d,"crc32":%d}}\n' % (_START, *checksum)


def is_checksum(line: bytes) -> bool:
    """Whether a line of a journal is a checksum rather than an entry."""
    return line.startswith(_START)


def read_checksums(lines: Iterable[bytes]) -> Iterator[Checksum]:
    """The checksums among the ``lines`` of a journal."""
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is not None:
            yield Checksum(int(found[1]), int(found[2]))


def crc32_of(portions: Iterable[bytes], value: int = 0) -> int:
    """The CRC-32 of all ``portions``, continuing from the checksum ``value``."""
    for portion in portions:
        value = crc32(portion, value)
    return value


def verify(file: BinaryIO, size: int, checksums: Iterable[Checksum]) -> Verified:
    """Compares audio with its checksums. Blocks.

    Audio without a checksum follows the last one after a ``kill -9`` between the two writes of a commit, or while
    writes of the journal fail. It counts as received up to the first block that ends with zero bytes, or up to zero
    bytes at the end of the file: a file system leaves those after a power loss. After the first checksum that does
    not match, no audio counts.

    :param file: at the first byte of audio.
    :param size: bytes of audio in ``file``.
    :returns: sizes in bytes.
    """
    good = written = 0
    is_intact = True
    for checksum in checksums:
        written = max(written, checksum.end)
        if is_intact:
            is_intact = good <= checksum.end <= size and _matches(file, checksum, good)
            good = checksum.end if is_intact else good
    if is_intact:
        good += _before_zeros(file, size - good)
    return Verified(good, max(good, written))


def _matches(file: BinaryIO, checksum: Checksum, start: int) -> bool:
    return crc32_of(_portions(file, checksum.end - start)) == checksum.crc32


def _portions(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (portion := file.read(min(size, _PORTION))):
        size -= len(portion)
        yield portion


def _before_zeros(file: BinaryIO, size: int) -> int:
    """How many of the next ``size`` bytes precede zero bytes that extend to the end of a block or of the file."""
    before = 0
    while before < size:
        block = file.read(min(size - before, BLOCK - file.tell() % BLOCK))
        data = block.rstrip(b"\0")
        before += len(data)
        if len(data) < len(block) or not block:
            break
    return before
