"""The header of a WAV file, read chunk by chunk (pure), by nobody's code but its own."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from audiohookd.protocol.media import Format, Media

#: The audio of a recording begins within so many bytes.
HEADER_LIMIT = 4096

_MAX_32 = 0xFFFF_FFFF
_TAGS = {Format.PCMU: 7, Format.L16: 1}


class Header(NamedTuple):
    """What it says. ``size`` is that of the whole file; ``frames``, samples per channel, None where it is silent."""

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
    """There is no header that could be read; the text says what is wrong."""


def read(start: bytes) -> Header:
    """The header at the start of a file, RIFF or RF64.

    :param start: as much of the file as there is, up to :data:`HEADER_LIMIT`.
    :raises NotWav: it does not say where its audio is and what.
    """
    if len(start) < 12 or start[:4] not in (b"RIFF", b"RF64") or start[8:12] != b"WAVE":
        raise NotWav("is no WAV file")
    chunks = dict(_chunks(start))
    if b"data" not in chunks:
        raise NotWav(f"has no data chunk in its first {HEADER_LIMIT} bytes")
    data_at, data_bytes = chunks[b"data"]
    if data_bytes == _MAX_32 and start[:4] == b"RIFF":
        raise NotWav("has the header of a recording that still grows")
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
    """Where a header does not fit to ``media``, or to a file of ``size`` bytes."""
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
            yield f"the WAV header says {found} as {name}, the sidecar's media are {expected}"
    if header.size != size:
        yield f"the WAV header speaks of a file of {header.size} bytes, it has {size}"
    if header.data_at + header.data_bytes + header.data_bytes % 2 != size:
        yield f"the WAV header speaks of {header.data_bytes} bytes of audio, there are {size - header.data_at}"
    if header.data_bytes % frame:
        yield f"the audio ends within a sample: {header.data_bytes} bytes"
    for frames in header.frames:
        if frames != header.data_bytes // frame:
            yield f"the WAV header speaks of {frames} samples, and of {header.data_bytes} bytes of audio"


def _chunks(start: bytes) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Name, and where the content begins and how long it is, up to the audio."""
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
