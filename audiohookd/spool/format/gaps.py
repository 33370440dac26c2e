"""Lists the stretches of a call without audio for the sidecar (pure).

Journal entries for gaps have two sources. The recorder writes one when the session reports a gap. The writer writes
one when it replaces audio that the disk did not take by silence. The writer knows only the position in the file; this
module computes the position in the call. Both write the entry before the silence, so after a crash the file may have
less silence than the entry says.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

import msgspec

from audiohookd.spool.format.journal import Entry


class Gap(msgspec.Struct, frozen=True):
    """The fields of a gap that its position depends on. All other fields are copied unread."""

    samples: int
    offset: int
    filled: bool
    start: int | None = None


class Place(NamedTuple):
    """A gap with its journal entry, and the ``offset`` in the file, in samples, that orders it."""

    offset: int
    gap: Gap
    entry: Entry


_gap = msgspec.json.Decoder(Gap)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Extent(NamedTuple):
    """How far a file extends, in samples per channel.

    ``samples`` are in the file: silence that a gap claims beyond them was never written. ``reach`` is where the call
    is known to have ended, as an offset in the file: a gap that is not filled may begin up to there.
    """

    samples: int
    reach: int


def located(
    recorder: Iterable[Entry], writer: Iterable[Entry], start_position: int, extent: Extent
) -> Iterator[bytes]:
    """The gaps of the recorder and of the writer as JSON, ordered by their offset in the file.

    Keeps only a few of them in memory.

    :param recorder: the entries of type ``gap`` that have a ``start``, in the order of the journal.
    :param writer: the entries of type ``gap`` without ``start``, in the order of the journal. Of several with the
        same offset the last one counts.
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
    """The extent of a file with ``samples`` per channel.

    Audio that the writer abandoned at the end of the file extends it. Gaps that begin later belong to audio that a
    crash cut off.
    """
    abandoned = (gap for gap in map(_read, entries) if gap.start is None and not gap.filled and gap.offset == samples)
    return Extent(samples, samples + max((gap.samples for gap in abandoned), default=0))


def has_start(entry: Entry) -> bool:
    """Whether a gap comes from the recorder: gaps of the writer have no position in the call."""
    return _read(entry).start is not None


def left_out(entries: Iterable[Entry], extent: Extent) -> int:
    """Samples of the call, per channel, that the file neither has nor replaces by silence."""
    return sum(gap.samples for gap in map(_read, entries) if not gap.filled and _is_within(gap, extent))


def _is_within(gap: Gap, extent: Extent) -> bool:
    return gap.offset < extent.samples if gap.filled else gap.offset <= extent.reach


def _places(entries: Iterable[Entry]) -> Iterator[Place]:
    for entry in entries:
        gap = _read(entry)
        yield Place(gap.offset, gap, entry)


def _last_of_each(places: Iterable[Place]) -> Iterator[Place]:
    """The last place of each offset."""
    for _, same in groupby(places, key=lambda place: place.offset):
        yield from deque(same, maxlen=1)


def _read(entry: Entry) -> Gap:
    try:
        return _gap.decode(entry.data)
    except msgspec.MsgspecError:  # a plugin wrote a gap of another shape: it is copied unchanged
        return Gap(samples=0, offset=0, filled=False, start=0)
