"""One recording that was found somewhere: what is to be said of it."""

from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from audiohookd.cli.progress import Progress
from audiohookd.cli.verify.checking import Seen, Stream, check, check_alone, glance
from audiohookd.cli.verify.sidecar import read_sidecar
from audiohookd.cli.verify.sidecar_claims import Malformed

#: What is said of a recording that is whole, though its audio is not here.
STORED = "the audio is stored elsewhere"


class Item(Protocol):
    """A recording, or what is left of one. Whatever cannot be read is an OSError."""

    #: Its files without their suffixes, for people.
    where: str

    def sidecar(self) -> AbstractContextManager[Stream] | None:
        """Opens it; None when there is none."""

    def audio(self) -> AbstractContextManager[Stream] | None:
        """Opens it; None when there is none."""

    def seen(self) -> Seen | None:
        """What there is to know of the audio without reading it; None when there is none."""

    def is_stored(self) -> bool:
        """A receipt says that it was carried away: the audio need not be here."""

    def is_moving(self) -> bool:
        """Just now it is made, moved or deleted: what is missing is no fault."""


class Verdict(NamedTuple):
    """``faults``: none when it is as it should be. ``note``: what is worth saying nevertheless."""

    where: str
    id: str | None
    faults: list[str]
    note: str = ""


def verify(item: Item, is_quick: bool, progress: Progress) -> Verdict | None:
    """Checks it; None when it is gone, or not there yet."""
    try:
        verdict = _verify(item, is_quick, progress)
    except OSError as fault:
        verdict = Verdict(item.where, None, [f"cannot be read: {fault.strerror or fault}"])
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
        faults = _listen(item, sidecar, progress)
    if faults is not None:
        return Verdict(item.where, _id(sidecar), faults)
    if item.is_stored():
        return Verdict(item.where, _id(sidecar), check_alone(sidecar), STORED)
    return Verdict(item.where, _id(sidecar), check(sidecar, None))


def _listen(item: Item, sidecar: dict[str, Any], progress: Progress) -> list[str] | None:
    audio = item.audio()
    if audio is None:
        return None
    with audio as stream:
        return check(sidecar, _Metered(stream, progress))


def _id(sidecar: dict[str, Any]) -> str | None:
    header = sidecar.get("header")
    return header.get("id") if isinstance(header, dict) else None


class _Metered:
    """A stream whose bytes are counted as they are read."""

    def __init__(self, stream: Stream, progress: Progress) -> None:
        self._stream = stream
        self._progress = progress

    def read(self, count: int) -> bytes:
        """See Stream."""
        data = self._stream.read(count)
        self._progress.read(len(data))
        return data
