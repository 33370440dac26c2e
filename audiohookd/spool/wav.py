"""The header of a WAV file, of constant length for a format, so that it can be written first and corrected last.

Right after the RIFF header stands a ``JUNK`` chunk. Past 4 GiB, where 32-bit sizes end, the file becomes an RF64 and
that chunk its ``ds64`` with the sizes in 64 bits (EBU Tech 3306). Nothing has to move for it.
"""

import struct

from audiohookd.protocol.media import Format, Media

_MAX_32 = 0xFFFF_FFFF
_DS64 = struct.Struct("<QQQL")  # sizes of the file, of the data, samples per channel, length of a table we lack
_FMT = struct.Struct("<HHLLHH")
_FORMAT_TAG = {Format.PCMU: 7, Format.L16: 1}
#: Bytes in which all growing headers of a format are the same: up to the number of channels.
_SAME = 58
#: More bytes than any header has.
ENOUGH = 128


def header(media: Media, data_bytes: int) -> bytes:
    """All that stands before ``data_bytes`` of audio. Its length depends on the format alone.

    The caller writes the audio, then :func:`padding`. L16 is little-endian in a WAV, whatever it was on the wire.
    """
    samples = data_bytes // media.frame_bytes
    size = header_bytes(media) + data_bytes + len(padding(data_bytes)) - 8
    if size > _MAX_32:
        sizes = _chunk(b"ds64", _DS64.pack(size, data_bytes, samples, 0))
        return _head(b"RF64", _MAX_32, sizes, _format_chunks(media, _MAX_32), _MAX_32)
    return _head(b"RIFF", size, _room_for_sizes(), _format_chunks(media, samples), data_bytes)


def growing_header(media: Media) -> bytes:
    """What stands before audio that still grows, as long as :func:`header`.

    All sizes are the largest there are: players take that for "to the end of the file", as of a stream.
    """
    return _head(b"RIFF", _MAX_32, _room_for_sizes(), _format_chunks(media, _MAX_32), _MAX_32)


def header_bytes(media: Media) -> int:
    """How long the header of this format is."""
    return len(_head(b"RIFF", 0, _room_for_sizes(), _format_chunks(media, 0), 0))


def data_bytes_of(header: bytes) -> int | None:
    """How many bytes of audio a header speaks of, that :func:`header` made; None for a :func:`growing_header`."""
    if header.startswith(b"RF64"):
        return int(_DS64.unpack_from(header, 20)[1])
    size = int.from_bytes(header[-4:], "little")
    return None if size == _MAX_32 else size


def is_bare(start: bytes) -> bool:
    """Whether a file that grows, and begins with ``start``, holds no audio: it ends with its header, or before that.

    :param start: all of the file, or :data:`ENOUGH` bytes of it.
    """
    headers = (growing_header(Media(format_, ("external",))) for format_ in Format)
    return any(len(start) <= len(one) and one[:_SAME].startswith(start[:_SAME]) for one in headers)


def padding(data_bytes: int) -> bytes:
    """What must follow the audio: chunks have an even number of bytes."""
    return b"\0" * (data_bytes % 2)


def _head(name: bytes, size: int, sizes: bytes, format_chunks: bytes, data_size: int) -> bytes:
    start = name + struct.pack("<L", size) + b"WAVE"
    return start + sizes + format_chunks + b"data" + struct.pack("<L", data_size)


def _room_for_sizes() -> bytes:
    return _chunk(b"JUNK", bytes(_DS64.size))


def _format_chunks(media: Media, samples: int) -> bytes:
    frame, bits = media.frame_bytes, 8 * media.format.sample_bytes
    tag = _FORMAT_TAG[media.format]
    fields = _FMT.pack(tag, len(media.channels), media.rate, media.rate * frame, frame, bits)
    if media.format is Format.L16:
        return _chunk(b"fmt ", fields)
    # What is not PCM has a length of further fields (none), and says how many samples there are.
    return _chunk(b"fmt ", fields + b"\0\0") + _chunk(b"fact", struct.pack("<L", samples))


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<L", len(content)) + content
