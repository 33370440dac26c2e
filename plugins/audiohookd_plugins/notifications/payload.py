"""The notice of a recording, in JSON: what those are told who want to know when it is there.

It holds what is named here, and nothing else of the sidecar: who was on the phone is none of its business, and what
other plugins noted in the sidecar may be anything. The same recording always gives the same bytes.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from audiohookd.interfaces import IRecording, Undeliverable

STORED = "recording.stored"
READY = "recording.ready"


class Notification(NamedTuple):
    """A notice, ready to be sent.

    ``id`` is the recording's, so that whoever gets the notice twice can tell. ``at`` is when the recording was
    complete. ``body`` is JSON in ASCII.
    """

    type: str
    id: str
    at: datetime
    conversation: str | None
    body: bytes


class _Media(Struct, frozen=True):
    format: str
    channels: tuple[str, ...]
    rate: int


class _Audio(Struct, frozen=True):
    file: str
    bytes: int
    sha256: str


class _Gap(Struct, frozen=True):
    samples: int


class _OmittedGaps(Struct, frozen=True):
    """Those that the sidecar does not list."""

    count: int = 0
    samples: int = 0


class _Recovered(Struct, frozen=True, rename="camel"):
    missing_from: int | None = None
    journal_cut: bool = False


class _Sidecar(Struct, frozen=True, rename="camel"):
    """Of the sidecar's ``recording``, what is told; in the order in which it is."""

    organization: str | None = None
    conversation: str | None = None
    session: str | None = None
    correlation: str | None = None
    route: str | None = None
    started_at: str | None = None
    duration: str | None = None
    samples: int = 0
    media: _Media | None = None
    gaps: tuple[_Gap, ...] = ()
    omitted_gaps: _OmittedGaps = _OmittedGaps()
    missing_samples: int = 0
    close_reason: str | None = None
    recovered: _Recovered | None = None
    audio: _Audio | None = None


def compose(recording: IRecording, limit: int | None = None) -> Notification:
    """Composes the notice. Reads the disk.

    :param limit: how many bytes the body may have. The receipts, which are the carriers' own, are left out where it
        would have more.
    :raises OSError: the disk refused.
    :raises Undeliverable: what is on the disk is not the sidecar or the receipts of a recording.
    """
    try:
        told = msgspec.convert(recording.read(), _Sidecar)
        receipts = recording.receipts()
    except ValueError as fault:  # also what msgspec raises
        raise Undeliverable(f"no notice can be made of its sidecar and receipts: {fault}") from fault
    at = datetime.fromtimestamp(recording.sidecar.stat().st_mtime, UTC)
    kind = STORED if receipts else READY
    where = {"stored": receipts} if receipts else {"files": _files(recording)}
    known = {"recording": recording.id} | _about(told)
    for data in _shortened(known | where):
        body = _encode({"type": kind, "id": recording.id, "timestamp": _iso(at), "data": data})
        if limit is None or len(body) <= limit:
            return Notification(kind, recording.id, at, told.conversation, body)
    raise Undeliverable(f"its notice has {len(body)} bytes, of which {limit} may be sent")


def _about(told: _Sidecar) -> dict[str, Any]:
    about: dict[str, Any] = msgspec.to_builtins(told)
    omitted = about.pop("omittedGaps")
    samples = sum(gap.samples for gap in told.gaps)
    about["gaps"] = {"count": len(told.gaps) + omitted["count"], "samples": samples + omitted["samples"]}
    return about


def _files(recording: IRecording) -> dict[str, str]:
    """Nobody stored it: it is still here, and stays here at least until the notice was accepted."""
    files = {"audio": recording.audio, "sidecar": recording.sidecar}
    return {name: str(path) for name, path in files.items() if path.exists()}


def _shortened(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """All of it, then less."""
    yield data
    if "stored" in data:
        yield {**data, "stored": {name: {} for name in data["stored"]}, "truncated": True}


def _encode(notice: Mapping[str, Any]) -> bytes:
    # ASCII: SQS refuses some characters, and no proxy or framework can spoil a signature by another encoding.
    return json.dumps(notice, separators=(",", ":")).encode("ascii")


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
