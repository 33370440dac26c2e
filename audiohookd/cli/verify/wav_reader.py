"""Parses the header of a WAV file (pure). It shares no code with the writer, so it can find the writer's errors."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from audiohookd.protocol.media import Format, Media

#: Bytes within which the audio of a recording begins.
HEADER_LIMIT = 4096

_MAX_32 = 0xFFFF_FFFF
_TAGS = {Format.PCMU: 7, Format.L16: 1}


class Header(NamedTuple):
    """The fields of a WAV header. ``size``: bytes of the whole file. ``frames``: samples per channel, if given."""

    size: int
    tag: int
    channels: int
    rate: int
    byte_rate: int
    frame_bytes: int
    bits: int
    data_at: int
    data_bytes: int
    frames: tuple[int, ...]


class NotWav(ValueError):
    """The file has no valid WAV header. The text says what is wrong."""


def read(start: bytes) -> Header:
    """Parses the header at the start of a RIFF or RF64 file.

    :param start: the first :data:`HEADER_LIMIT` bytes of the file, or all of it.
    :raises NotWav: the header does not give the place and format of the audio.
    """
    if len(start) < 12 or start[:4] not in (b"RIFF", b"RF64") or start[8:12] != b"WAVE":
        raise NotWav("is not a WAV file")
    chunks = dict(_chunks(start))
    if b"data" not in chunks:
        raise NotWav(f"has no data chunk in its first {HEADER_LIMIT} bytes")
    data_at, data_bytes = chunks[b"data"]
    if data_bytes == _MAX_32 and start[:4] == b"RIFF":
        raise NotWav("has the header of an unfinished recording")
    try:
        tag, channels, rate, byte_rate, frame_bytes, bits = struct.unpack_from("<HHLLHH", start, chunks[b"fmt "][0])
        (size,) = struct.unpack_from("<L", start, 4)
        frames = _frames(start, chunks)
        if start[:4] == b"RF64":
            size, data_bytes, of_all, _ = struct.unpack_from("<QQQL", start, chunks[b"ds64"][0])
            frames = (of_all,)
    except (KeyError, struct.error):
        raise NotWav("has an incomplete header") from None
    return Header(size + 8, tag, channels, rate, byte_rate, frame_bytes, bits, data_at, data_bytes, frames)


def faults(header: Header, media: Media, size: int) -> Iterator[str]:
    """Yields where a header contradicts ``media``, or a file of ``size`` bytes."""
    frame = media.frame_bytes
    wanted = {
        "format": (header.tag, _TAGS[media.format]),
        "channels": (header.channels, len(media.channels)),
        "rate": (header.rate, media.rate),
        "bytes per second": (header.byte_rate, media.rate * frame),
        "bytes per frame": (header.frame_bytes, frame),
        "bits per sample": (header.bits, 8 * media.format.sample_bytes),
    }
    for name, (found, expected) in wanted.items():
        if found != expected:
            yield f"{name} is {found} in the WAV header, but {expected} by the sidecar's media"
    if header.size != size:
        yield f"the WAV header says that the file has {header.size} bytes, but it has {size}"
    if header.data_at + header.data_bytes + header.data_bytes % 2 != size:
        yield f"the WAV header says {header.data_bytes} bytes of audio, but there are {size - header.data_at}"
    if header.data_bytes % frame:
        yield f"the audio ends inside a sample: {header.data_bytes} bytes"
    for frames in header.frames:
        if frames != header.data_bytes // frame:
            yield f"the WAV header says {frames} samples, but {header.data_bytes} bytes of audio"


def _chunks(start: bytes) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Yields the name of each chunk, and the offset and size in bytes of its content, up to the audio."""
    at = 12
    while at + 8 <= len(start):
        name = start[at : at + 4]
        (size,) = struct.unpack_from("<L", start, at + 4)
        yield name, (at + 8, size)
        if name == b"data":
            return
        at += 8 + size + size % 2


def _frames(start: bytes, chunks: dict[bytes, tuple[int, int]]) -> tuple[int, ...]:
    if b"fact" not in chunks:
        return ()
    return struct.unpack_from("<L", start, chunks[b"fact"][0])
