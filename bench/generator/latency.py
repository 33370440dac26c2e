"""Latencies in an HDR histogram, and what of it goes into a result."""

from array import array
from collections import Counter
from collections.abc import Mapping

from hdrh.histogram import HdrHistogram

#: Microseconds: a minute.
_LARGEST = 60_000_000
_RANKS = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}


class Latency:
    """Is kept as it came, eight bytes each: the histogram, which is made at the end, takes longer for each."""

    def __init__(self) -> None:
        self._taken = array("d")
        #: One more, in seconds.
        self.add = self._taken.append

    def result(self) -> dict[str, float]:
        """See :func:`ranked`."""
        return ranked(Counter(self._taken))


class Lateness:
    """How late frames were sent, in whole milliseconds: there are too many frames to keep each."""

    def __init__(self) -> None:
        #: Frames by milliseconds; the last one has those that were later still.
        self.counts = array("q", bytes(8 * 4096))

    def result(self) -> dict[str, float]:
        """See :func:`ranked`; each frame counts as the whole millisecond that it had begun."""
        return ranked({(milliseconds + 1) / 1000: count for milliseconds, count in enumerate(self.counts) if count})


def ranked(counts: Mapping[float, int]) -> dict[str, float]:
    """Milliseconds by rank, and the count; with a count of 0 alone when there is none.

    :param counts: of each number of seconds; from a microsecond to a minute, to three digits.
    """
    histogram = HdrHistogram(1, _LARGEST, 3)
    for seconds, count in counts.items():
        histogram.record_value(min(max(round(seconds * 1e6), 1), _LARGEST), count)
    total = histogram.get_total_count()
    if not total:
        return {"count": 0}
    ranks = {name: histogram.get_value_at_percentile(rank) / 1000 for name, rank in _RANKS.items()}
    return {"count": total, **ranks, "max": histogram.get_max_value() / 1000}
