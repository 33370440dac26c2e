"""The JSON notification of a recording.

It contains only the members named here. The participants of the call and the notes of other plugins stay in the
sidecar. The same recording always yields the same bytes.
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
    """A notification, ready to send.

    ``id`` is the recording's, so that receivers can recognise duplicates. ``at`` is when the recording was complete.
    ``body`` is JSON in ASCII.
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
    """Gaps that the sidecar counts but does not list."""

    count: int = 0
    samples: int = 0


class _Recovered(Struct, frozen=True, rename="camel"):
    missing_from: int | None = None
    journal_cut: bool = False


class _Sidecar(Struct, frozen=True, rename="camel"):
    """The members of the sidecar's ``recording`` that the notification contains, in this order."""

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
    """Composes the notification. Reads the disk.

    :param limit: the largest body in bytes. A larger one is sent without the contents of the carriers' receipts.
    :raises OSError: the disk failed.
    :raises Undeliverable: the sidecar or a receipt is invalid, or the body is still too large.
    """
    try:
        sidecar = msgspec.convert(recording.read(), _Sidecar)
        receipts = recording.receipts()
    except ValueError as error:  # includes msgspec's errors
        raise Undeliverable(f"cannot compose a notification from its sidecar and receipts: {error}") from error
    at = datetime.fromtimestamp(recording.sidecar.stat().st_mtime, UTC)
    kind = STORED if receipts else READY
    where = {"stored": receipts} if receipts else {"files": _files(recording)}
    known = {"recording": recording.id} | _describe(sidecar)
    for data in _shortened(known | where):
        body = _encode({"type": kind, "id": recording.id, "timestamp": _iso(at), "data": data})
        if limit is None or len(body) <= limit:
            return Notification(kind, recording.id, at, sidecar.conversation, body)
    raise Undeliverable(f"its notification has {len(body)} bytes, more than the limit of {limit}")


def _describe(sidecar: _Sidecar) -> dict[str, Any]:
    about: dict[str, Any] = msgspec.to_builtins(sidecar)
    omitted = about.pop("omittedGaps")
    samples = sum(gap.samples for gap in sidecar.gaps)
    about["gaps"] = {"count": len(sidecar.gaps) + omitted["count"], "samples": samples + omitted["samples"]}
    return about


def _files(recording: IRecording) -> dict[str, str]:
    """The local files. Without a carrier they stay at least until the notification is accepted."""
    files = {"audio": recording.audio, "sidecar": recording.sidecar}
    return {name: str(path) for name, path in files.items() if path.exists()}


def _shortened(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The complete data, then the shortened variants."""
    yield data
    if "stored" in data:
        yield {**data, "stored": {name: {} for name in data["stored"]}, "truncated": True}


def _encode(notification: Mapping[str, Any]) -> bytes:
    # ASCII: SQS rejects some characters, and no proxy or framework can break the signature by another encoding.
    return json.dumps(notification, separators=(",", ":")).encode("ascii")


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
