"""Ranges of signing times for which the nonces have expired, so that a replay is no longer detectable (pure)."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

#: Largest number of ranges. Each step of a clock adds at most one.
MAX_RANGES = 64


class ExpiredRange(NamedTuple):
    """Nonces with ``created`` from ``first`` to ``last`` (UNIX seconds, inclusive) have expired.

    :param offset: ``created`` minus the monotonic time of the first use, of the first nonce in the range.
    """

    offset: float
    first: float
    last: float


class ExpiredRanges:
    """A set of ranges of ``created``. A signature in one of them is rejected, because its nonce may have expired.

    So no nonce is accepted twice, even if a wall clock is set back after the nonce has expired. Each step of the
    clock starts a new range, and times between two ranges are accepted. A single limit (all times before the last
    expiry) would be wrong: after a clock that was an hour ahead is corrected, it would reject every call for an hour.

    :param window: the largest difference in seconds between the offsets of signatures while no clock is set.
    """

    def __init__(self, window: float, ranges: Iterable[ExpiredRange] = ()) -> None:
        self._window = window
        self._ranges = list(ranges)

    def __iter__(self) -> Iterator[ExpiredRange]:
        return iter(self._ranges)

    def __contains__(self, created: float) -> bool:
        return any(first <= created <= last for _, first, last in self._ranges)

    def add(self, created: float, since: float) -> None:
        """Adds an expired nonce, which was first used at the monotonic time ``since``.

        Beyond :data:`MAX_RANGES` the two closest ranges are merged, and the time between them with them.
        """
        offset = created - since
        for index, known in enumerate(self._ranges):
            if abs(offset - known.offset) <= self._window:
                first, last = min(known.first, created), max(known.last, created)
                self._ranges[index] = ExpiredRange(known.offset, first, last)
                return
        self._ranges.append(ExpiredRange(offset, created, created))
        if len(self._ranges) > MAX_RANGES:
            self._join_closest()

    def _join_closest(self) -> None:
        self._ranges.sort(key=lambda known: known.first)
        gaps = [later.first - earlier.last for earlier, later in zip(self._ranges, self._ranges[1:], strict=False)]
        index = gaps.index(min(gaps))
        earlier, later = self._ranges[index : index + 2]
        joined = ExpiredRange(later.offset, earlier.first, max(earlier.last, later.last))
        self._ranges[index : index + 2] = [joined]
