"""Latencies in an HDR histogram, and what of it goes into a result."""

from hdrh.histogram import HdrHistogram

#: Microseconds: a minute.
_LARGEST = 60_000_000
_RANKS = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}


class Latency:
    """From a microsecond to a minute, to three digits."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, _LARGEST, 3)

    def add(self, seconds: float) -> None:
        """One more."""
        self._histogram.record_value(min(max(round(seconds * 1e6), 1), _LARGEST))

    def add_many(self, seconds: float, count: int) -> None:
        """So many more of the same."""
        self._histogram.record_value(min(max(round(seconds * 1e6), 1), _LARGEST), count)

    def result(self) -> dict[str, float]:
        """Milliseconds by rank, and the count; with a count of 0 alone when there is none."""
        histogram = self._histogram
        count = histogram.get_total_count()
        if not count:
            return {"count": 0}
        ranks = {name: histogram.get_value_at_percentile(rank) / 1000 for name, rank in _RANKS.items()}
        return {"count": count, **ranks, "max": histogram.get_max_value() / 1000}


class Lateness:
    """How late frames were sent. Counts milliseconds: a histogram takes longer than all else about a frame."""

    _LAST = 4095

    def __init__(self) -> None:
        self._counts = [0] * (self._LAST + 1)

    def add(self, seconds: float) -> None:
        """One more frame."""
        milliseconds = int(seconds * 1000)
        self._counts[milliseconds if milliseconds < self._LAST else self._LAST] += 1

    def result(self) -> dict[str, float]:
        """See :meth:`Latency.result`; each frame counts as the whole millisecond that it had begun."""
        latency = Latency()
        for milliseconds, count in enumerate(self._counts):
            if count:
                latency.add_many((milliseconds + 1) / 1000, count)
        return latency.result()
