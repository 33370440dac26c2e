"""The stretches of a call without audio, as the sidecar lists them (pure).

Two tell of them: the recorder, as it hears of a gap, and the writer, which replaced by silence what the disk refused.
The writer knows the place in the file alone; where that is in the call is found here. Both tell before the silence is
written, so after a crash there may be less of it than they say.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

import msgspec

from audiohookd.spool.format.journal import Entry


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


class Extent(NamedTuple):
    """How far a file goes, in samples per channel.

    ``samples`` are in it: what a gap says of filled ones beyond never came into it. ``reach`` is up to where the call
    is known to have gone on, as if all of it were in the file: a gap that is not filled may lie up to there.
    """

    samples: int
    reach: int


def located(
    recorder: Iterable[Entry], writer: Iterable[Entry], start_position: int, extent: Extent
) -> Iterator[bytes]:
    """The gaps of both, as JSON, ordered by their place in the file; a few held at a time.

    :param recorder: those entries of type ``gap`` that have a ``start``, in their order.
    :param writer: those without, in their order; of some with the same offset the last one counts.
    :param start_position: the position in the call, in samples, of the first sample of the file.
    """
    left_out, samples = 0, extent.samples
    places = heapq.merge(_places(recorder), _last_of_each(_places(writer)), key=lambda place: place.offset)
    for offset, gap, entry in places:
        changed: dict[str, int] = {}
        if gap.start is None:
            changed["start"] = start_position + offset + left_out
        if gap.filled and offset + gap.samples > samples:
            changed["samples"] = samples - offset
        if _is_within(gap, extent):
            yield msgspec.json.encode(_members.decode(entry.data) | changed) if changed else entry.data
            left_out += 0 if gap.filled else gap.samples


def extent(entries: Iterable[Entry], samples: int) -> Extent:
    """Of a file with ``samples``, per channel: beyond its end goes what the disk refused there until it was given up.

    What lies farther was in a file that a crash cut off.
    """
    given_up = (gap for gap in map(_read, entries) if gap.start is None and not gap.filled and gap.offset == samples)
    return Extent(samples, samples + max((gap.samples for gap in given_up), default=0))


def has_start(entry: Entry) -> bool:
    """The recorder's, not the writer's."""
    return _read(entry).start is not None


def left_out(entries: Iterable[Entry], extent: Extent) -> int:
    """Samples of the call that no silence stands for in the file."""
    return sum(gap.samples for gap in map(_read, entries) if not gap.filled and _is_within(gap, extent))


def _is_within(gap: Gap, extent: Extent) -> bool:
    return gap.offset < extent.samples if gap.filled else gap.offset <= extent.reach


def _places(entries: Iterable[Entry]) -> Iterator[Place]:
    for entry in entries:
        gap = _read(entry)
        yield Place(gap.offset, gap, entry)


def _last_of_each(places: Iterable[Place]) -> Iterator[Place]:
    """The last one of those with the same offset."""
    for _, same in groupby(places, key=lambda place: place.offset):
        yield from deque(same, maxlen=1)


def _read(entry: Entry) -> Gap:
    try:
        return _gap.decode(entry.data)
    except msgspec.MsgspecError:  # a plugin's own idea of a gap: it is passed on as it is
        return Gap(samples=0, offset=0, filled=False, start=0)
