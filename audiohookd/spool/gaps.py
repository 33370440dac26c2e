"""The stretches of a call without audio, as the sidecar lists them (pure).

Two tell of them: the recorder, as it hears of a gap, and the writer, which replaced by silence what the disk refused.
The writer knows the place in the file alone; where that is in the call is found here.
"""

import heapq
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from audiohookd.spool.journal import Entry


class Gap(msgspec.Struct, frozen=True):
    """What is needed of a gap to put it into its place; the rest is passed on unread."""

    samples: int
    offset: int
    filled: bool
    start: int | None = None


class Place(NamedTuple):
    """A gap, and where it comes: ``offset`` in the file, in samples."""

    offset: int
    gap: Gap
    entry: Entry


_gap = msgspec.json.Decoder(Gap)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def located(recorder: Iterable[Entry], writer: Iterable[Entry], start_position: int) -> Iterator[bytes]:
    """The gaps of both, as JSON, ordered by their place in the file; one of each held at a time.

    :param recorder: those entries of type ``gap`` that have a ``start``, in their order.
    :param writer: those without, in their order.
    :param start_position: the position in the call, in samples, of the first sample of the file.
    """
    left_out = 0
    for place in heapq.merge(_places(recorder), _places(writer), key=lambda place: place.offset):
        if place.gap.start is None:
            start = start_position + place.offset + left_out
            yield msgspec.json.encode({"start": start, **_members.decode(place.entry.data)})
        else:
            yield place.entry.data
            left_out += 0 if place.gap.filled else place.gap.samples


def has_start(entry: Entry) -> bool:
    """The recorder's, not the writer's."""
    return _read(entry).start is not None


def left_out(entries: Iterable[Entry]) -> int:
    """Samples of the call that no silence stands for in the file."""
    return sum(gap.samples for gap in map(_read, entries) if not gap.filled)


def _places(entries: Iterable[Entry]) -> Iterator[Place]:
    for entry in entries:
        gap = _read(entry)
        yield Place(gap.offset, gap, entry)


def _read(entry: Entry) -> Gap:
    try:
        return _gap.decode(entry.data)
    except msgspec.MsgspecError:  # a plugin's own idea of a gap: it is passed on as it is
        return Gap(samples=0, offset=0, filled=True, start=0)
