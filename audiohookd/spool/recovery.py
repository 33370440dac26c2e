"""What can be told of a recording whose end nobody wrote: a crash ended it (pure)."""

from collections.abc import Iterable
from typing import Any

import msgspec

from audiohookd.protocol.position import duration_to_samples
from audiohookd.spool.gaps import Extent, left_out
from audiohookd.spool.journal import Entry

#: The reason of its end.
CRASH = "crash"


class _Message(msgspec.Struct, frozen=True):
    position: str


class _Crossed(msgspec.Struct, frozen=True):
    dir: str
    message: _Message


_crossed = msgspec.json.Decoder(_Crossed)


def recovered(
    entries: Iterable[Entry], gaps: Iterable[Entry], start_position: int, extent: Extent, rate: int
) -> dict[str, Any]:
    """Members for the sidecar's ``recording``.

    ``missingFrom`` is the position in the call from where on audio may be missing; ``missingSamples`` how much is, as
    far as the client's messages tell: it sent them while it had sent more audio than there is.
    """
    end = start_position + extent.samples + left_out(gaps, extent)
    last = max((_position(entry, rate) for entry in entries), default=0)
    about = {"closeReason": CRASH, "recovered": {"missingFrom": end}}
    return about | {"missingSamples": last - end} if last > end else about


def _position(entry: Entry, rate: int) -> int:
    """Of a message of the client; 0 for anything else."""
    if entry.type != "audiohook":
        return 0
    try:
        crossed = _crossed.decode(entry.data)
        return duration_to_samples(crossed.message.position, rate) if crossed.dir == "in" else 0
    except ValueError:  # also what msgspec raises: a message that was refused is in the journal, too
        return 0
