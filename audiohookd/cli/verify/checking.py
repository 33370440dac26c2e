"""Checks a recording against its sidecar, from any place. Reads the audio once, from start to end."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from audiohookd.cli.progress import Progress
from audiohookd.cli.verify import wav_reader
from audiohookd.cli.verify.sidecar import Malformed, SidecarInfo, inconsistencies, read, read_sidecar
from audiohookd.protocol.media import Media

#: Bytes of audio that are read at a time and held in memory.
_BLOCK = 1 << 20


class Stream(Protocol):
    """An open file, or the body of a store's response."""

    def read(self, count: int, /) -> bytes:
        """Reads at most ``count`` bytes. Empty at the end."""


class Seen(NamedTuple):
    """The facts about an audio file. None: not read. ``start``: the first bytes. ``noisy``: gaps without silence."""

    size: int
    start: bytes | None = None
    sha256: str | None = None
    noisy: tuple[int, ...] = ()


def check(sidecar: Mapping[str, Any], audio: Stream | None) -> list[str]:
    """Checks a recording, and returns its errors. An empty list means that it is correct.

    It finds every change of the audio, and every change of the sidecar that contradicts the audio or the sidecar. It
    cannot find other changes, such as different words in the body, or a gap that was longer than the sidecar says.

    :param audio: None if there is no audio. It is not closed. Errors of its ``read`` propagate.
    """
    try:
        claims = read(sidecar)
    except Malformed as malformed:
        return malformed.faults
    seen = None if audio is None else _read_audio(audio, claims)
    return [*inconsistencies(sidecar, claims), *_differences(claims, seen)]


def glance(sidecar: Mapping[str, Any], seen: Seen | None) -> list[str]:
    """Checks a recording as :func:`check` does, with the facts known without reading the audio."""
    try:
        claims = read(sidecar)
    except Malformed as malformed:
        return malformed.faults
    return [*inconsistencies(sidecar, claims), *_differences(claims, seen)]


def check_alone(sidecar: Mapping[str, Any]) -> list[str]:
    """Checks a sidecar as :func:`check` does, if the audio is stored elsewhere."""
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
        yield "there is audio, but the sidecar says that there is none"
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
    except wav_reader.NotWav as error:
        yield f"the audio {error}"
        return
    yield from wav_reader.faults(header, media, size)
    frames = header.data_bytes // media.frame_bytes
    if frames != samples:
        yield f"there are {frames} samples, the sidecar says {samples}"


def _read_audio(audio: Stream, claims: SidecarInfo) -> Seen:
    start = _fill(audio, wav_reader.HEADER_LIMIT)
    digest = hashlib.sha256(start)
    size = len(start)
    silence = _silence(start, claims)
    silence.update(0, start)
    while block := audio.read(_BLOCK):
        digest.update(block)
        silence.update(size, block)
        size += len(block)
    return Seen(size, start, digest.hexdigest(), tuple(sorted(silence.noisy)))


def _fill(audio: Stream, count: int) -> bytes:
    """Reads ``count`` bytes, or up to the end. One read of a stream may return fewer."""
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
    data_end = header.data_at + header.data_bytes  # a pad byte may follow, which is not silence
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
    """Checks that filled gaps hold silence, which is one repeated byte in all formats.

    :param ranges: for each filled gap its number, and the offsets in the file of its start and end, in bytes.
    """

    def __init__(self, byte: bytes, ranges: Sequence[tuple[int, int, int]]) -> None:
        #: The numbers of the gaps that hold other bytes.
        self.noisy: set[int] = set()
        self._byte = byte
        self._ranges = ranges

    def update(self, at: int, block: bytes) -> None:
        """Checks ``block``, which starts at byte ``at`` of the file."""
        for number, start, end in self._ranges:
            if start < at + len(block) and end > at:
                part = block[max(0, start - at) : end - at]
                if part.count(self._byte) != len(part):
                    self.noisy.add(number)


#: The note on a correct recording with audio in another place.
STORED = "the audio is stored elsewhere"


class Item(Protocol):
    """A recording to verify, or the remaining files of one. All methods raise OSError for a read error."""

    #: The path or URL of its files without their suffixes, for the user.
    where: str

    def sidecar(self) -> AbstractContextManager[Stream] | None:
        """Opens the sidecar. None if there is none."""

    def audio(self) -> AbstractContextManager[Stream] | None:
        """Opens the audio. None if there is none."""

    def seen(self) -> Seen | None:
        """The facts about the audio that are known without reading it. None if there is no audio."""

    def is_stored(self) -> bool:
        """Whether a receipt says that the audio was uploaded, so that it may be missing here."""

    def is_moving(self) -> bool:
        """Whether it is being written, moved or deleted now, so that a missing file is not an error."""


class Verdict(NamedTuple):
    """The result of a verification. ``faults``: empty if the recording is correct. ``note``: other information."""

    where: str
    id: str | None
    faults: list[str]
    note: str = ""


def verify(item: Item, is_quick: bool, progress: Progress) -> Verdict | None:
    """Verifies a recording. None if it was moved or deleted, or is not finished yet."""
    try:
        verdict = _verify(item, is_quick, progress)
    except OSError as error:
        verdict = Verdict(item.where, None, [f"cannot be read: {error.strerror or error}"])
    if verdict.faults and item.is_moving():
        return None
    return verdict


def _verify(item: Item, is_quick: bool, progress: Progress) -> Verdict:
    opened = item.sidecar()
    if opened is None:
        return Verdict(item.where, None, ["there is no sidecar"])
    try:
        with opened as text:
            sidecar = read_sidecar(text)
    except Malformed as malformed:
        return Verdict(item.where, None, malformed.faults)
    if is_quick:
        seen = item.seen()
        faults = None if seen is None else glance(sidecar, seen)
    else:
        faults = _check_audio(item, sidecar, progress)
    if faults is not None:
        return Verdict(item.where, _id(sidecar), faults)
    if item.is_stored():
        return Verdict(item.where, _id(sidecar), check_alone(sidecar), STORED)
    return Verdict(item.where, _id(sidecar), check(sidecar, None))


def _check_audio(item: Item, sidecar: dict[str, Any], progress: Progress) -> list[str] | None:
    audio = item.audio()
    if audio is None:
        return None
    with audio as stream:
        return check(sidecar, _Metered(stream, progress))


def _id(sidecar: dict[str, Any]) -> str | None:
    header = sidecar.get("header")
    return header.get("id") if isinstance(header, dict) else None


class _Metered:
    """A stream that counts the bytes read from it."""

    def __init__(self, stream: Stream, progress: Progress) -> None:
        self._stream = stream
        self._progress = progress

    def read(self, count: int) -> bytes:
        """See Stream."""
        data = self._stream.read(count)
        self._progress.read(len(data))
        return data
