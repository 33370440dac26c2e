"""A strict reader of RIFF files, and the headers of earlier versions."""

import struct

from audiohookd.protocol.media import Format, Media

_MAX_32 = 0xFFFF_FFFF


def chunks(file: bytes) -> list[tuple[bytes, bytes]]:
    """All chunks of a whole RIFF file: name and content.

    Each chunk begins at an even position, one zero byte follows a chunk of odd length, and all chunks together have
    exactly the length in the RIFF header.
    """
    name, size, form = struct.unpack_from("<4sL4s", file)
    assert (name, form, size) == (b"RIFF", b"WAVE", len(file) - 8)
    found = []
    at = 12
    while at < len(file):
        name, size = struct.unpack_from("<4sL", file, at)
        content = file[at + 8 : at + 8 + size]
        assert len(content) == size, f"{name!r} goes beyond the end of the file"
        at += 8 + size
        if size % 2:
            assert file[at : at + 1] == b"\0", f"no pad byte after {name!r}"
            at += 1
        found.append((name, content))
    return found


def growing_chunks(file: bytes) -> list[tuple[bytes, bytes]]:
    """As :func:`chunks`, for a growing file: its RIFF and its last chunk extend to the end of the file."""
    assert file[4:8] == b"\xff" * 4
    head, _, audio = file.partition(b"data\xff\xff\xff\xff")
    return [*chunks(head[:4] + struct.pack("<L", len(head) - 8) + head[8:]), (b"data", audio)]


def junk_first_header(media: Media, data_bytes: int | None) -> bytes:
    """The header of earlier versions.

    :param data_bytes: None for a growing file.
    """
    channels, width = len(media.channels), media.format.sample_bytes
    frame = channels * width
    is_mulaw = media.format is Format.PCMU
    head = b"WAVE" + b"JUNK" + struct.pack("<L", 28) + bytes(28)
    head += struct.pack("<4sL", b"fmt ", 18 if is_mulaw else 16)
    head += struct.pack("<HHLLHH", 7 if is_mulaw else 1, channels, 8000, 8000 * frame, frame, 8 * width)
    if is_mulaw:
        samples = _MAX_32 if data_bytes is None else data_bytes // frame
        head += b"\0\0" + struct.pack("<4sLL", b"fact", 4, samples)
    if data_bytes is None:
        return b"RIFF" + b"\xff" * 4 + head + b"data" + b"\xff" * 4
    size = len(head) + 8 + data_bytes + data_bytes % 2
    return b"RIFF" + struct.pack("<L", size) + head + b"data" + struct.pack("<L", data_bytes)
