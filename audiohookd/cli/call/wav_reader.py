"""Finds the audio in the WAV files that telephony systems write: RIFF, RIFX and RF64, finished or not.

libsndfile rejects a chunk of odd length without a pad byte, and finds no audio in an unfinished file without sizes.
Both are common, so this module parses the chunks, and gives libsndfile a plain file with the same audio.
"""

import io
import os
import struct
from typing import BinaryIO, NamedTuple

_MAX_32 = 0xFFFF_FFFF
_BYTE_ORDER = {b"RIFF": "<", b"RF64": "<", b"RIFX": ">"}
_MULAW = 7
_GSM = 0x31  # GSM 6.10, as Asterisk's wav49 has it
_GSM_BLOCK_BYTES, _GSM_BLOCK_SAMPLES = 65, 320
_EXTENSIBLE = 0xFFFE
_SUBFORMAT_AT = 24  # in `fmt `: two bytes of the GUID are the format tag
#: Chunk names that are recognized after a missing pad byte, or right after audio of length 0.
_KNOWN = frozenset(b"fmt ,fact,data,LIST,JUNK,junk,PAD ,bext,cue ,PEAK,id3 ,ID3 ,iXML".split(b","))


class MalformedWav(ValueError):
    """The file is a WAV without usable audio. The text says what is wrong."""


class Wav(NamedTuple):
    """The format of a WAV file, and the place of its audio in bytes.

    ``fmt`` is the content of the chunk ``fmt``; ``byte_order`` is a prefix for :mod:`struct`.
    """

    magic: bytes
    byte_order: str
    fmt: bytes
    tag: int
    channels: int
    rate: int
    bits: int
    data_at: int
    data_bytes: int

    @property
    def is_mulaw(self) -> bool:
        """Whether the audio is µ-law of one byte per sample."""
        return (self.tag, self.bits) == (_MULAW, 8)

    @property
    def codec(self) -> str:
        """Describes the format, for an error message."""
        return f"WAV format 0x{self.tag:04X} ({self.bits} bits, {self.channels} channels, {self.rate} Hz)"

    @property
    def most_samples(self) -> int | None:
        """The maximum of samples per channel to decode. None: as many as the decoder finds.

        libsndfile 1.2.2 appends 40 ms of noise to GSM of an odd number of blocks.
        """
        return self.data_bytes // _GSM_BLOCK_BYTES * _GSM_BLOCK_SAMPLES if self.tag == _GSM else None

    def audio(self, file: BinaryIO) -> bytes:
        """The encoded audio."""
        file.seek(self.data_at)
        return file.read(self.data_bytes)

    def rewritten(self, file: BinaryIO) -> BinaryIO:
        """A file with the same format and audio, correct sizes and no other chunks. RF64 is not changed."""
        if self.magic == b"RF64":
            file.seek(0)
            return file
        audio = self.audio(file)
        head = b"WAVE" + self._chunk(b"fmt ", self.fmt) + b"data" + self._size(len(audio))
        return io.BytesIO(self.magic + self._size(len(head) + len(audio)) + head + audio)

    def _chunk(self, name: bytes, content: bytes) -> bytes:
        return name + self._size(len(content)) + content + b"\0" * (len(content) % 2)

    def _size(self, size: int) -> bytes:
        return struct.pack(self.byte_order + "L", min(size, _MAX_32))


def find(file: BinaryIO) -> Wav | None:
    """Finds the audio in a file. None if the file is not a WAV.

    :raises MalformedWav: the file is a WAV without a usable chunk ``fmt`` or ``data``.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(12)
    byte_order = _BYTE_ORDER.get(start[:4])
    if byte_order is None or start[8:] != b"WAVE":
        return None
    chunks = _chunks(file, byte_order, end)
    if b"data" not in chunks:
        raise MalformedWav("the WAV file has no data chunk")
    if b"fmt " not in chunks:
        raise MalformedWav("the WAV file has no fmt chunk before its audio")
    fmt = _content(file, *chunks[b"fmt "])
    if len(fmt) < 16:
        raise MalformedWav("the WAV file has an incomplete fmt chunk")
    tag, channels, rate, _, _, bits = struct.unpack_from(byte_order + "HHLLHH", fmt)
    if tag == _EXTENSIBLE and len(fmt) >= _SUBFORMAT_AT + 2:
        (tag,) = struct.unpack_from(byte_order + "H", fmt, _SUBFORMAT_AT)
    data_at, size = chunks[b"data"]
    if b"ds64" in chunks:
        size = int.from_bytes(_content(file, *chunks[b"ds64"])[8:16], "little")
    data_bytes = _data_bytes(file, data_at, size, end)
    return Wav(start[:4], byte_order, fmt, tag, channels, rate, bits, data_at, data_bytes)


def _chunks(file: BinaryIO, byte_order: str, end: int) -> dict[bytes, tuple[int, int]]:
    """The offset and size in bytes of the content of each chunk, up to the audio."""
    found: dict[bytes, tuple[int, int]] = {}
    at = 12
    while b"data" not in found and at + 8 <= end:
        file.seek(at)
        name, size = struct.unpack(byte_order + "4sL", file.read(8))
        if not (name.isascii() and name.decode("ascii").isprintable()):
            break  # not a chunk
        found.setdefault(name, (at + 8, size))
        at += 8 + size
        if size % 2 and _name_at(file, at) not in _KNOWN:
            at += 1
    return found


def _data_bytes(file: BinaryIO, at: int, size: int, end: int) -> int:
    """The real size of the audio in bytes. An unfinished file says 0, or more than it has."""
    if size == 0 and _name_at(file, at) not in _KNOWN:
        return end - at
    return min(size, end - at)


def _name_at(file: BinaryIO, at: int) -> bytes:
    return _content(file, at, 4)


def _content(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)
