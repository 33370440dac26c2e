"""Reads a sidecar in bounded memory: skips the body, which may be of any size. Blocks.

The daemon writes ``recording`` at the end of a sidecar, so the reader searches the end of the file first. If another
program has reformatted the sidecar, the reader parses it from the start.
"""

import os
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec

from audiohookd.spool.format.json_stream import JsonStream, NotJson, decode

#: Most gaps of one recording in memory. The recorder lists no more, but a sidecar of an earlier version may.
MAX_GAPS: Final = 10_000
#: Most bytes of a member of ``recording``, of one of its gaps, and of all members together.
MAX_RECORDING: Final = 4 << 20
#: Bytes at the end of a file that are searched for ``recording``.
TAIL: Final = 1 << 20

#: A JSON string has no line break, so text of a call cannot contain this.
_BEFORE_RECORDING: Final = b'\n],\n"recording":'


class SidecarRecording(NamedTuple):
    """The ``recording`` of a sidecar: its ``members``, with the first :data:`MAX_GAPS` gaps.

    ``gaps`` is the number of the remaining gaps, ``gap_samples`` the sum of their samples.
    """

    members: dict[str, Any]
    gaps: int
    gap_samples: int


class _Length(msgspec.Struct, frozen=True):
    samples: int = 0


class _Omitted(msgspec.Struct, frozen=True):
    count: int = 0
    samples: int = 0


class _Header(msgspec.Struct, frozen=True):
    timestamp: str


def read_recording(file: BinaryIO) -> dict[str, Any]:
    """Reads the member ``recording``. Adds the gaps that it leaves out to ``omittedGaps``, as the recorder does.

    :raises ValueError: the file is not a sidecar, or ``recording`` is too large.
    """
    members, gaps, samples = _at_the_end(file) or _from_the_start(file)
    if gaps:
        known = msgspec.convert(members.get("omittedGaps", {}), _Omitted)
        count, more = known.count + gaps, known.samples + samples
        members["omittedGaps"] = {**members.get("omittedGaps", {}), "count": count, "samples": more}
    return members


def read_timestamp(file: BinaryIO) -> str:
    """Reads the start time of the recording from the header.

    :raises ValueError: the file is not a sidecar.
    """
    stream = JsonStream(file.read)
    for name in stream.members():
        if name == "header":
            header: _Header = decode(stream.value(MAX_RECORDING), _Header)
            return header.timestamp
    raise NotJson("the sidecar has no header")


def recording_of(stream: JsonStream) -> SidecarRecording:
    """Reads the object ``recording``, the next value in ``stream``.

    :raises ValueError: the value is not an object, or is too large.
    """
    members: dict[str, Any] = {}
    gaps = samples = 0
    left = MAX_RECORDING
    for name in stream.members():
        if name == "gaps" and stream.peek() == b"[":
            members[name], gaps, samples = _gaps(stream)
        else:
            text = stream.value(left)
            left -= len(name) + len(text)
            members[name] = decode(text)
    return SidecarRecording(members, gaps, samples)


def _at_the_end(file: BinaryIO) -> SidecarRecording | None:
    """Reads ``recording`` from the end of the file. None if it is not where the daemon writes it."""
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, size - TAIL))
    _, found, text = file.read(size - start).rpartition(_BEFORE_RECORDING)
    file.seek(0)
    if not found:
        return None
    blocks = iter((text, b""))
    stream = JsonStream(lambda _: next(blocks, b""))
    try:
        recording = recording_of(stream)
        stream.leave()
    except NotJson:
        return None
    return recording


def _from_the_start(file: BinaryIO) -> SidecarRecording:
    stream = JsonStream(file.read)
    recording = None
    for name in stream.members():
        if name == "recording":
            recording = recording_of(stream)
    stream.end()
    if recording is None:
        raise NotJson("the sidecar has no recording")
    return recording


def _gaps(stream: JsonStream) -> tuple[list[Any], int, int]:
    """The first gaps, and the number and the samples of the others."""
    kept: list[Any] = []
    count = samples = 0
    left = MAX_RECORDING
    for text in _texts(stream):
        left -= len(text)
        if len(kept) < MAX_GAPS and left >= 0:
            kept.append(decode(text))
        else:
            count += 1
            samples += decode(text, _Length).samples
    return kept, count, samples


def _texts(stream: JsonStream) -> Iterator[bytes]:
    for _ in stream.elements():
        yield stream.value(MAX_RECORDING)
