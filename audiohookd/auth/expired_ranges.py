"""Which signatures can no longer be told from replays, because the nonces of their time have expired (pure)."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

#: Ranges that are kept. Each step of a clock adds at most one.
MAX_RANGES = 64


class ExpiredRange(NamedTuple):
    """Nonces with ``created`` from ``first`` to ``last`` have expired, in UNIX seconds, both included.

    :param offset: ``created`` less the monotonic time of the first use, of the first nonce in it.
    """

    offset: float
    first: float
    last: float


class ExpiredRanges:
    """The times of ``created`` from which nonces have expired: a signature of these times is rejected.

    So no nonce is accepted twice, whatever a wall clock is set to after it expired. Not simply all times before the
    last one: after a clock was an hour ahead, with a signer on the same clock, every call would be rejected for
    an hour once it is right again. A step of the clock begins a range of its own; the time between two ranges stays
    open.

    :param window: how far, in seconds, the offsets of signatures can lie apart while no clock is set.
    """

    def __init__(self, window: float, ranges: Iterable[ExpiredRange] = ()) -> None:
        self._window = window
        self._ranges = list(ranges)

    def __iter__(self) -> Iterator[ExpiredRange]:
        return iter(self._ranges)

    def __contains__(self, created: float) -> bool:
        return any(first <= created <= last for _, first, last in self._ranges)

    def add(self, created: float, since: float) -> None:
        """A nonce expires that was used first at ``since``, of a monotonic clock.

        Beyond :data:`MAX_RANGES` the two ranges that lie closest become one, with the time between them.
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
