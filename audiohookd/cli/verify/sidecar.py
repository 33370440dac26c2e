"""Parses what a sidecar states about its audio, and finds contradictions in it (pure)."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, convert, field

from audiohookd.cli.verify.checking import Stream
from audiohookd.protocol.duration import samples_to_duration
from audiohookd.protocol.media import Media
from audiohookd.spool.format.journal import JournalMedia
from audiohookd.spool.format.json_stream import JsonStream, NotJson, TooLarge, decode
from audiohookd.spool.format.sidecar_reader import MAX_GAPS, MAX_RECORDING, recording_of

Count = Annotated[int, Meta(ge=0)]

#: The cause of gaps for audio that arrived but could not be written to disk. Such a gap may overlap other gaps, and
#: does not change their positions.
_DISK = "disk"


#: The error for a sidecar of another program, such as Genesys' reference server, with the same name, header and body.
_NOT_OURS = (
    'the sidecar has no "recording", which describes the audio: audiohookd did not write it, so the audio cannot be'
    " checked"
)


class Malformed(Exception):
    """The sidecar is not valid. ``faults``: all errors in it."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class Header(Struct, frozen=True):
    """The sidecar's ``header``."""

    id: str
    timestamp: str


class Gap(Struct, frozen=True):
    """A part of the call without audio. ``start`` in samples of the call, ``offset`` in samples of the file."""

    start: Count
    samples: Count
    cause: str
    filled: bool
    offset: Count

    @property
    def end(self) -> int:
        """The end in samples of the call."""
        return self.start + self.samples

    @property
    def file_end(self) -> int:
        """The end in samples of the file."""
        return self.offset + self.samples if self.filled else self.offset


class Audio(Struct, frozen=True):
    """The sidecar's description of the audio file."""

    file: str
    bytes: Count
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class Recovered(Struct, frozen=True, rename="camel"):
    """Present if a crash ended the recording."""

    missing_from: Count | None = None


class SidecarInfo(Struct, frozen=True, rename="camel"):
    """The members of the sidecar's ``recording`` that can be checked. Counts are samples per channel."""

    started_at: str
    media: JournalMedia | None
    samples: Count
    duration: str
    audio: Audio | None
    gaps: tuple[Gap, ...] = field(default=())
    start_position: Count | None = None
    missing_samples: Count = 0
    recovered: Recovered | None = None

    @property
    def wire_media(self) -> Media | None:
        """The media as the protocol package represents it."""
        media = self.media
        return None if media is None else Media(media.format, media.channels, media.rate)


class _Sidecar(Struct, frozen=True):
    header: Header
    body: list[Mapping[str, Any]]
    recording: Mapping[str, Any]


def read(sidecar: Mapping[str, Any]) -> SidecarInfo:
    """Parses the claims of a sidecar.

    :raises Malformed: members are missing, or have the wrong type. It lists all of them.
    """
    if "recording" not in sidecar:
        raise Malformed([_NOT_OURS])
    outer = list(_wrong(sidecar, _Sidecar, ""))
    recording = sidecar["recording"]
    inner = list(_wrong(recording, SidecarInfo, "recording.")) if isinstance(recording, Mapping) else []
    if outer or inner:
        raise Malformed([*outer, *inner])
    return convert(recording, SidecarInfo)


def inconsistencies(sidecar: Mapping[str, Any], claims: SidecarInfo) -> Iterator[str]:
    """Yields contradictions between the claims that do not depend on the audio."""
    if sidecar["header"]["timestamp"] != claims.started_at:
        yield f"header.timestamp is {sidecar['header']['timestamp']}, recording.startedAt {claims.started_at}"
    yield from _media_faults(claims)
    yield from _gap_faults(claims)
    yield from _place_faults(claims)


def _wrong(given: Mapping[str, Any], kind: type[Struct], where: str) -> Iterator[str]:
    """Yields an error for each member that is missing or has the wrong type. One error does not hide another."""
    for member in msgspec.structs.fields(kind):
        name = member.encode_name
        if name in given:
            try:
                convert(given[name], member.type)
            except msgspec.ValidationError as error:
                yield f"{where}{name}: {str(error).replace('`', '')}"
        elif member.required:
            yield f"{where}{name} is missing"


def _media_faults(claims: SidecarInfo) -> Iterator[str]:
    media = claims.media
    if media is None:
        if claims.audio is not None or claims.samples:
            yield "recording.media is null, but there is audio"
        return
    if claims.audio is None:
        yield "recording.audio is null, but recording.media is not"
    if not (1 <= len(media.channels) <= 2 and len(set(media.channels)) == len(media.channels)):
        yield f"recording.media.channels: {list(media.channels)}"
    if media.rate < 1:
        yield f"recording.media.rate: {media.rate}"
    elif claims.duration != (duration := samples_to_duration(claims.samples, media.rate)):
        yield f"recording.duration is {claims.duration}, but {claims.samples} samples are {duration}"


def _gap_faults(claims: SidecarInfo) -> Iterator[str]:
    heard = [(number, gap) for number, gap in enumerate(claims.gaps) if gap.cause != _DISK]
    refused = [(number, gap) for number, gap in enumerate(claims.gaps) if gap.cause == _DISK]
    for gaps in (heard, refused):
        for (_, before), (number, gap) in pairwise(gaps):
            if gap.start < before.start or gap.offset < before.offset:
                yield f"gap {number} is listed after a later gap"
            elif gap.start < before.end or gap.offset < before.file_end:
                yield f"gap {number} begins before the previous gap ends"
    for number, gap in enumerate(claims.gaps):
        if gap.filled and claims.media is None:
            yield f"gap {number} is filled, but there is no audio"
        elif not _is_inside(gap, claims):
            yield f"gap {number} ends at sample {gap.file_end} of the file, the audio at {claims.samples}"


def _is_inside(gap: Gap, claims: SidecarInfo) -> bool:
    """Whether a gap lies inside the file.

    Audio that the disk failed to take may follow the end of the file. After a crash the real end is unknown.
    """
    refused = sum(gap.samples for gap in claims.gaps if gap.cause == _DISK and not gap.filled)
    return gap.file_end <= claims.samples + claims.missing_samples + refused or claims.recovered is not None


def _place_faults(claims: SidecarInfo) -> Iterator[str]:
    """Checks that positions agree: a position in the call is one in the file plus all samples left out before it."""
    start = claims.start_position
    if claims.media is None or (start is None and not claims.gaps):
        return
    if start is None:
        yield "recording.startPosition is missing, but there are gaps"
        return
    left_out = 0
    for number, gap in enumerate(claims.gaps):
        place = start + gap.offset + left_out
        if gap.start != place:
            yield f"gap {number} starts at sample {gap.start} of the call, but its offset in the file implies {place}"
        left_out += 0 if gap.filled or gap.cause == _DISK else gap.samples
    end = start + claims.samples + sum(gap.samples for gap in claims.gaps if not gap.filled)
    lost_from = claims.recovered.missing_from if claims.recovered else None
    if lost_from not in (None, end):
        yield f"recording.recovered.missingFrom is {lost_from}, but the audio ends at {end}"


#: Maximum bytes of an entry of the body: a journal line of 1 MiB with every byte escaped.
MAX_ENTRY = 8 << 20


def read_sidecar(text: Stream) -> dict[str, Any]:
    """Reads a sidecar, and checks its body. The body of the returned sidecar is empty.

    :raises Malformed: the text is not a sidecar, or is too large to check.
    :raises OSError: the sidecar cannot be read.
    """
    try:
        return _read(JsonStream(text.read))
    except NotJson as error:
        raise Malformed([f"the sidecar is not JSON: {error}"]) from error
    except TooLarge as error:
        raise Malformed([f"the sidecar cannot be checked: {error}"]) from error


def _read(stream: JsonStream) -> dict[str, Any]:
    if stream.peek() != b"{":
        decode(stream.value(MAX_ENTRY))
        raise Malformed(["the sidecar is not a JSON object"])
    sidecar: dict[str, Any] = {}
    for name in stream.members():
        following = stream.peek()
        if name == "body" and following == b"[":
            _check_body(stream)
            sidecar[name] = []
        elif name == "recording" and following == b"{":
            sidecar[name] = _recording(stream)
        else:
            sidecar[name] = decode(stream.value(MAX_RECORDING))
    stream.end()
    return sidecar


def _check_body(stream: JsonStream) -> None:
    for number, _ in enumerate(stream.elements()):
        if not isinstance(decode(stream.value(MAX_ENTRY)), dict):
            raise Malformed([f"body: entry {number} is not an object"])


def _recording(stream: JsonStream) -> dict[str, Any]:
    members, omitted, _ = recording_of(stream)
    if omitted:
        raise Malformed([f"recording.gaps has {MAX_GAPS + omitted:,} elements, but only {MAX_GAPS:,} can be checked"])
    return members
