"""Verifies one recording, on disk or in a bucket."""

from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from audiohookd.cli.progress import Progress
from audiohookd.cli.verify.checking import Seen, Stream, check, check_alone, glance
from audiohookd.cli.verify.sidecar import read_sidecar
from audiohookd.cli.verify.sidecar_claims import Malformed

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
