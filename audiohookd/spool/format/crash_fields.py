"""Computes the sidecar fields of a recording that a crash ended: the end was not written, or was lost (pure)."""

from collections.abc import Iterable
from typing import Any

import msgspec

from audiohookd.protocol.duration import duration_to_samples
from audiohookd.spool.format.journal import Entry

#: The ``closeReason`` of such a recording.
CRASH = "crash"


class _Message(msgspec.Struct, frozen=True):
    position: str


class _Crossed(msgspec.Struct, frozen=True):
    dir: str
    message: _Message


_crossed = msgspec.json.Decoder(_Crossed)


def crash_fields(entries: Iterable[Entry], end: int, reached: int, rate: int) -> dict[str, Any]:
    """Members for the sidecar's ``recording``, after a crash or a power loss.

    ``missingFrom`` is the position in the call after which audio may be missing. ``missingSamples`` is how much is
    known to be missing: checksums, and positions in the client's messages, go beyond the audio on disk.

    :param end: the position in the call, in samples, where the audio ends.
    :param reached: the position in the call, in samples, up to which audio was written.
    """
    last = max((_position(entry, rate) for entry in entries), default=0)
    about: dict[str, Any] = {"recovered": {"missingFrom": end}}
    missing = max(last, reached) - end
    return about | {"missingSamples": missing} if missing > 0 else about


def _position(entry: Entry, rate: int) -> int:
    """The position, in samples, of a message of the client; 0 for any other entry."""
    if entry.type != "audiohook":
        return 0
    try:
        crossed = _crossed.decode(entry.data)
        return duration_to_samples(crossed.message.position, rate) if crossed.dir == "in" else 0
    except ValueError:  # includes msgspec's errors: the journal also has messages that the session rejected
        return 0
