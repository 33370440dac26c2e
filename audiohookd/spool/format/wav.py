"""The header of a WAV file. It is written first, and replaced at the end of the recording.

All headers of a format have the same length, so the audio never moves:

=========== ====================================
growing     ``fmt ``, ``JUNK``, ``data``
finished    ``fmt ``, ``fact``, ``JUNK``, ``data``
over 4 GiB  ``ds64``, ``fmt ``, ``fact``, ``data``
=========== ====================================

Only mu-law has a ``fact``. ``fmt `` comes right after ``WAVE`` because many readers require it (Genesys' reference
client, Azure's Speech SDK). A growing file has no ``fact``: ffmpeg and Chromium trust the length in it, and showed an
unknown one as 149 hours. ``JUNK`` reserves the space for ``ds64``, the 64-bit sizes of a file over 4 GiB, which an
RF64 must begin with (EBU Tech 3306).
"""

import struct

from audiohookd.protocol.media import Channel, Format, Media

_MAX_32 = 0xFFFF_FFFF
_DS64 = struct.Struct("<QQQL")  # size of the file, of the data, samples per channel, length of a table (none: 0)
_DS64_AT = 20  # position of its content in the file
_FMT = struct.Struct("<HHLLHH")
_FORMAT_TAG = {Format.PCMU: 7, Format.L16: 1}
_JUNK = bytes(_DS64.size)
#: Bytes to read for a header: more than any has.
ENOUGH = 128


def header(media: Media, data_bytes: int) -> bytes:
    """The header of a finished file with ``data_bytes`` of audio.

    The caller writes the audio, then :func:`padding`. L16 is little-endian in a WAV file.
    """
    samples = data_bytes // media.frame_bytes
    size = header_bytes(media) + data_bytes + len(padding(data_bytes)) - 8
    if size > _MAX_32:
        sizes = _chunk(b"ds64", _DS64.pack(size, data_bytes, samples, 0))
        return _riff(b"RF64", _MAX_32, sizes, _fmt(media), _fact(media, _MAX_32), _data(_MAX_32))
    return _riff(b"RIFF", size, _fmt(media), _fact(media, samples), _chunk(b"JUNK", _JUNK), _data(data_bytes))


def growing_header(media: Media) -> bytes:
    """The header of a growing file. It has the same length as :func:`header`.

    Its sizes are the largest possible, which readers understand as "up to the end of the file", as in a stream.
    """
    junk = _chunk(b"JUNK", _fact(media, 0) + _JUNK)  # as long as fact and JUNK together; readers skip its content
    return _riff(b"RIFF", _MAX_32, _fmt(media), junk, _data(_MAX_32))


def header_bytes(media: Media) -> int:
    """The length of the headers for ``media``, in bytes."""
    return len(growing_header(media))


def data_bytes_of(header: bytes) -> int | None:
    """The size of the audio in bytes according to a :func:`header`; None for a :func:`growing_header`.

    Headers of earlier versions (``JUNK`` first) have the same length, and these fields at the same position.
    """
    if header.startswith(b"RF64"):
        return int(_DS64.unpack_from(header, _DS64_AT)[1])
    size = int.from_bytes(header[-4:], "little")
    return None if size == _MAX_32 else size


def is_bare(start: bytes) -> bool:
    """Whether a growing file has no audio: it ends with its header or inside it.

    :param start: the whole file, or its first :data:`ENOUGH` bytes.
    """
    return any(header.startswith(start) for header in _GROWING_HEADERS)


def padding(data_bytes: int) -> bytes:
    """The pad byte after audio of odd length: a chunk has an even number of bytes."""
    return b"\0" * (data_bytes % 2)


def _riff(name: bytes, size: int, *chunks: bytes) -> bytes:
    return name + struct.pack("<L", size) + b"WAVE" + b"".join(chunks)


def _fmt(media: Media) -> bytes:
    frame, bits = media.frame_bytes, 8 * media.format.sample_bytes
    tag = _FORMAT_TAG[media.format]
    fields = _FMT.pack(tag, len(media.channels), media.rate, media.rate * frame, frame, bits)
    # A format other than PCM has the length of its extra fields here: 0.
    return _chunk(b"fmt ", fields if media.format is Format.L16 else fields + b"\0\0")


def _fact(media: Media, samples: int) -> bytes:
    """The chunk with the samples per channel. Only formats other than PCM need it."""
    return b"" if media.format is Format.L16 else _chunk(b"fact", struct.pack("<L", samples))


def _data(size: int) -> bytes:
    return b"data" + struct.pack("<L", size)


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<L", len(content)) + content


def _growing_header_junk_first(media: Media) -> bytes:
    """The layout of earlier versions, needed to repair their drafts."""
    junk = _chunk(b"JUNK", _JUNK)
    return _riff(b"RIFF", _MAX_32, junk, _fmt(media), _fact(media, _MAX_32), _data(_MAX_32))


_CHANNELS: tuple[tuple[Channel, ...], ...] = (("external",), ("external", "internal"))
_GROWING_HEADERS = tuple(
    growing(Media(format_, channels))
    for growing in (growing_header, _growing_header_junk_first)
    for format_ in Format
    for channels in _CHANNELS
)
