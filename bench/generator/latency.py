"""Latencies in an HDR histogram, and their percentiles for a result."""

from array import array
from collections import Counter
from collections.abc import Mapping

from hdrh.histogram import HdrHistogram

#: Microseconds: a minute.
_LARGEST = 60_000_000
_RANKS = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}


class Latency:
    """Latencies as raw values of eight bytes. The histogram is built at the end: adding to it takes longer."""

    def __init__(self) -> None:
        self._taken = array("d")
        #: Adds a latency in seconds.
        self.add = self._taken.append

    def result(self) -> dict[str, float]:
        """See :func:`ranked`."""
        return ranked(Counter(self._taken))


class Lateness:
    """Counts how late frames were sent, in whole milliseconds. There are too many frames to store each value."""

    def __init__(self) -> None:
        #: The number of frames by milliseconds. The last element counts all later frames.
        self.counts = array("q", bytes(8 * 4096))

    def result(self) -> dict[str, float]:
        """See :func:`ranked`. Each frame counts as the next whole millisecond."""
        return ranked({(milliseconds + 1) / 1000: count for milliseconds, count in enumerate(self.counts) if count})


def ranked(counts: Mapping[float, int]) -> dict[str, float]:
    """The percentiles in milliseconds, and the count. Only a count of 0 if there are no values.

    :param counts: how often each value in seconds occurred. Values are limited to a range from a microsecond to a
        minute, with three digits.
    """
    histogram = HdrHistogram(1, _LARGEST, 3)
    for seconds, count in counts.items():
        histogram.record_value(min(max(round(seconds * 1e6), 1), _LARGEST), count)
    total = histogram.get_total_count()
    if not total:
        return {"count": 0}
    ranks = {name: histogram.get_value_at_percentile(rank) / 1000 for name, rank in _RANKS.items()}
    return {"count": total, **ranks, "max": histogram.get_max_value() / 1000}
