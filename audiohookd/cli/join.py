"""``audiohookctl join``: makes one recording of the parts of a call that moved between connections or daemons."""

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct, ValidationError, convert

from audiohookd.cli.formatting import counted
from audiohookd.cli.usage_error import UsageError
from audiohookd.escaping import printable
from audiohookd.protocol.media import Format, Media, RecordedChannel
from audiohookd.spool.format import wav
from audiohookd.spool.format.sidecar_reader import read_recording

#: Bytes that are copied at a time.
_BLOCK = 1 << 20
#: Why a part of the joined recording has no audio: neither part has it.
HOLE = "handover"


class _Media(Struct, frozen=True):
    format: Format
    channels: tuple[RecordedChannel, ...]
    rate: int


class _Gap(Struct, frozen=True):
    start: int
    samples: int
    cause: str
    filled: bool = True
    offset: int = 0


class _Recording(Struct, frozen=True, rename="camel"):
    """The members of a sidecar's ``recording`` that are needed."""

    samples: int
    session: str = ""
    conversation: str = ""
    start_position: int = 0
    started_at: str = ""
    media: _Media | None = None
    gaps: list[_Gap] = []
    continues: list[str] = []


class Part(Struct, frozen=True):
    """One recording of the call: the positions ``start`` to ``end``, in samples."""

    recording: _Recording
    media: Media
    wav: Path

    @property
    def start(self) -> int:
        """The position of its first sample."""
        return self.recording.start_position

    @property
    def end(self) -> int:
        """The position after its last sample."""
        return self.start + self.recording.samples


class Piece(Struct, frozen=True):
    """What the joined recording takes next: ``samples`` of ``part`` from its sample ``first`` on; None: silence."""

    part: Part | None
    first: int
    samples: int


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """See :class:`audiohookd.cli.main.Command`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "join",
        help="join the recordings of a call that was continued on another connection",
        description="Joins the recordings of one call, by the positions in their sidecars: audio that two of them"
        " have is taken once, and audio that none has is silence. Writes OUT.wav and OUT.json. The order of the"
        " arguments does not matter.",
    )
    parser.add_argument("sidecars", nargs="+", type=Path, metavar="SIDECAR", help="the .json of each recording")
    parser.add_argument("--output", "-o", required=True, type=Path, metavar="OUT", help="the file without its suffix")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """See :class:`audiohookd.cli.main.Command`."""
    parts = sorted(map(_part, arguments.sidecars), key=lambda part: (part.start, part.end))
    parts = [part for part in parts if part.end > part.start] or parts[:1]
    _check(parts)
    pieces = list(plan(parts))
    target = arguments.output.with_name(arguments.output.name + ".wav")
    try:
        _write(target, parts[0].media, pieces)
        target.with_suffix(".json").write_text(json.dumps({"recording": _summary(parts, pieces)}, indent=1) + "\n")
    except OSError as error:
        raise UsageError(f"join: {error.filename or target}: {error.strerror}") from None
    seconds = sum(piece.samples for piece in pieces) / parts[0].media.rate
    print(printable(f"{target}: {counted(len(parts), 'recording')}, {seconds:.1f} s"))
    return 0


def plan(parts: Sequence[Part]) -> Iterator[Piece]:
    """The pieces of the joined recording, without overlap and hole.

    :param parts: sorted by their start.
    """
    position = parts[0].start
    for part in parts:
        if part.end <= position:
            continue
        if part.start > position:
            yield Piece(None, 0, part.start - position)
            position = part.start
        yield Piece(part, position - part.start, part.end - position)
        position = part.end


def _part(sidecar: Path) -> Part:
    try:
        with open(sidecar, "rb") as file:
            recording = convert(read_recording(file), _Recording)
    except OSError as error:
        raise UsageError(f"join: {sidecar}: {error.strerror}") from None
    except (ValueError, ValidationError) as error:
        raise UsageError(f"join: {sidecar}: not a sidecar of audiohookd: {error}") from None
    if recording.media is None:
        raise UsageError(f"join: {sidecar}: the recording has no audio")
    if not all(gap.filled for gap in recording.gaps):
        raise UsageError(f'join: {sidecar}: its gaps are not in the file: record with gaps = "silence"')
    media = Media(recording.media.format, recording.media.channels, recording.media.rate)
    return Part(recording, media, sidecar.with_suffix(".wav"))


def _check(parts: Sequence[Part]) -> None:
    """:raises UsageError: the recordings are not of one call."""
    first = parts[0]
    for part in parts[1:]:
        if part.recording.conversation != first.recording.conversation:
            raise UsageError(f"join: {part.wav} and {first.wav} are recordings of different conversations")
        if part.media != first.media:
            raise UsageError(f"join: {part.wav} and {first.wav} have different formats or channels")


def _write(target: Path, media: Media, pieces: Sequence[Piece]) -> None:
    size = sum(piece.samples for piece in pieces) * media.frame_bytes
    unfinished = target.with_name(target.name + ".part")
    try:
        with open(unfinished, "wb") as file:
            file.write(wav.header(media, size))
            for piece in pieces:
                _copy(file, media, piece)
            file.write(wav.padding(size))
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def _copy(file: BinaryIO, media: Media, piece: Piece) -> None:
    left = piece.samples * media.frame_bytes
    if piece.part is None:
        while left > 0:
            left -= file.write(media.silence(min(left, _BLOCK) // media.frame_bytes))
        return
    with open(piece.part.wav, "rb") as source:
        source.seek(wav.header_bytes(media) + piece.first * media.frame_bytes)
        while left > 0:
            block = source.read(min(left, _BLOCK))
            if not block:
                raise UsageError(f"join: {piece.part.wav} is shorter than its sidecar says")
            left -= file.write(block)


def _summary(parts: Sequence[Part], pieces: Sequence[Piece]) -> dict[str, Any]:
    """The ``recording`` of the joined sidecar."""
    first = parts[0]
    gaps, position = [], first.start
    for piece in pieces:
        end = position + piece.samples
        if piece.part is None:
            gaps.append({"start": position, "samples": piece.samples, "cause": HOLE})
        else:
            for gap in piece.part.recording.gaps:
                start, stop = max(gap.start, position), min(gap.start + gap.samples, end)
                if start < stop:
                    gaps.append({"start": start, "samples": stop - start, "cause": gap.cause})
        position = end
    media = {"format": first.media.format, "channels": first.media.channels, "rate": first.media.rate}
    return {
        "joined": [part.wav.stem for part in parts],
        "sessions": [part.recording.session for part in parts],
        "conversation": first.recording.conversation,
        "startedAt": first.recording.started_at,
        "startPosition": first.start,
        "samples": position - first.start,
        "media": media,
        "gaps": gaps,
    }
