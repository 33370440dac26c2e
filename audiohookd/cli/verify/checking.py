"""A recording against its sidecar, wherever the two come from. Reads the audio once, from its start to its end."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from audiohookd.cli.verify import wav_reader
from audiohookd.cli.verify.sidecar_claims import Malformed, SidecarInfo, inconsistencies, read
from audiohookd.protocol.media import Media

#: Bytes that are read at a time: all that is held of the audio.
_BLOCK = 1 << 20


class Stream(Protocol):
    """A file that is open for reading, or what a store sends."""

    def read(self, count: int, /) -> bytes:
        """At most ``count`` bytes; none at the end."""


class Seen(NamedTuple):
    """What is known of an audio file; None for what was not looked at. ``noisy``: gaps that are not silent."""

    size: int
    start: bytes | None = None
    sha256: str | None = None
    noisy: tuple[int, ...] = ()


def check(sidecar: Mapping[str, Any], audio: Stream | None) -> list[str]:
    """All that is wrong with a recording; nothing is when the list is empty.

    Finds every change of the audio, and of the sidecar what contradicts the audio or itself. It cannot find what
    nothing speaks against: other words in the body, or that a gap was longer than it says.

    :param audio: None when there is none. Not closed. What its ``read`` raises is passed on.
    """
    try:
        claims = read(sidecar)
    except Malformed as malformed:
        return malformed.faults
    seen = None if audio is None else _listen(audio, claims)
    return [*inconsistencies(sidecar, claims), *_differences(claims, seen)]


def glance(sidecar: Mapping[str, Any], seen: Seen | None) -> list[str]:
    """As :func:`check`, for what is known without reading the audio."""
    try:
        claims = read(sidecar)
    except Malformed as malformed:
        return malformed.faults
    return [*inconsistencies(sidecar, claims), *_differences(claims, seen)]


def check_alone(sidecar: Mapping[str, Any]) -> list[str]:
    """As :func:`check`, for a sidecar whose audio is stored elsewhere."""
    try:
        return list(inconsistencies(sidecar, read(sidecar)))
    except Malformed as malformed:
        return malformed.faults


def _differences(claims: SidecarInfo, seen: Seen | None) -> Iterator[str]:
    if seen is None:
        if claims.audio is not None:
            yield "there is no audio"
        return
    if claims.audio is None:
        yield "there is audio, of which the sidecar knows nothing"
        return
    if seen.size != claims.audio.bytes:
        yield f"the audio has {seen.size} bytes, the sidecar says {claims.audio.bytes}"
    if seen.sha256 not in (None, claims.audio.sha256):
        yield f"the audio's SHA-256 is {seen.sha256}, the sidecar says {claims.audio.sha256}"
    media = claims.wire_media
    if seen.start is not None and media is not None and media.frame_bytes:
        yield from _header_faults(seen.start, media, seen.size, claims.samples)
    for number in seen.noisy:
        yield f"gap {number} is not silent in the file"


def _header_faults(start: bytes, media: Media, size: int, samples: int) -> Iterator[str]:
    try:
        header = wav_reader.read(start)
    except wav_reader.NotWav as fault:
        yield f"the audio {fault}"
        return
    yield from wav_reader.faults(header, media, size)
    frames = header.data_bytes // media.frame_bytes
    if frames != samples:
        yield f"there are {frames} samples, the sidecar says {samples}"


def _listen(audio: Stream, claims: SidecarInfo) -> Seen:
    start = _fill(audio, wav_reader.HEADER_LIMIT)
    digest = hashlib.sha256(start)
    size = len(start)
    silence = _silence(start, claims)
    silence.hear(0, start)
    while block := audio.read(_BLOCK):
        digest.update(block)
        silence.hear(size, block)
        size += len(block)
    return Seen(size, start, digest.hexdigest(), tuple(sorted(silence.noisy)))


def _fill(audio: Stream, count: int) -> bytes:
    """A stream may give less than it was asked for."""
    got = b""
    while len(got) < count and (more := audio.read(count - len(got))):
        got += more
    return got


def _silence(start: bytes, claims: SidecarInfo) -> "_Silence":
    media = claims.wire_media
    try:
        header = wav_reader.read(start)
    except wav_reader.NotWav:
        media = None
    if media is None:
        return _Silence(b"", ())
    data_end = header.data_at + header.data_bytes  # after it stands a pad byte, and that is no silence
    return _Silence(
        media.format.silence[:1],
        [
            (
                number,
                header.data_at + gap.offset * media.frame_bytes,
                min(header.data_at + gap.file_end * media.frame_bytes, data_end),
            )
            for number, gap in enumerate(claims.gaps)
            if gap.filled
        ],
    )


class _Silence:
    """Hears whether filled gaps hold what they should: one byte, again and again, in all formats.

    :param ranges: number of a gap, and the bytes of the file where it begins and ends.
    """

    def __init__(self, byte: bytes, ranges: Sequence[tuple[int, int, int]]) -> None:
        #: The numbers of those that hold something else.
        self.noisy: set[int] = set()
        self._byte = byte
        self._ranges = ranges

    def hear(self, at: int, block: bytes) -> None:
        """``block`` stands at the byte ``at`` of the file."""
        for number, start, end in self._ranges:
            if start < at + len(block) and end > at:
                part = block[max(0, start - at) : end - at]
                if part.count(self._byte) != len(part):
                    self.noisy.add(number)
