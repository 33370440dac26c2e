"""What can be told of a recording whose end was not written, or was lost: a crash ended it (pure)."""

from collections.abc import Iterable
from typing import Any

import msgspec

from audiohookd.protocol.duration import duration_to_samples
from audiohookd.spool.format.journal import Entry

#: The reason of its end.
CRASH = "crash"


class _Message(msgspec.Struct, frozen=True):
    position: str


class _Crossed(msgspec.Struct, frozen=True):
    dir: str
    message: _Message


_crossed = msgspec.json.Decoder(_Crossed)


def crash_fields(entries: Iterable[Entry], end: int, reached: int, rate: int) -> dict[str, Any]:
    """Members for the sidecar's ``recording``.

    ``missingFrom`` is the position in the call from where on audio may be missing; ``missingSamples`` how much is, as
    far as checksums and the client's messages tell: it sent them while it had sent more audio than there is.

    :param end: the position in the call where the audio ends.
    :param reached: the position up to which audio was written.
    """
    last = max((_position(entry, rate) for entry in entries), default=0)
    about: dict[str, Any] = {"recovered": {"missingFrom": end}}
    missing = max(last, reached) - end
    return about | {"missingSamples": missing} if missing > 0 else about


def _position(entry: Entry, rate: int) -> int:
    """Of a message of the client; 0 for anything else."""
    if entry.type != "audiohook":
        return 0
    try:
        crossed = _crossed.decode(entry.data)
        return duration_to_samples(crossed.message.position, rate) if crossed.dir == "in" else 0
    except ValueError:  # also what msgspec raises: a message that was refused is in the journal, too
        return 0
