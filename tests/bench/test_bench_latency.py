import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.generator.latency import Latency, Lateness


def test_no_values_give_only_a_count() -> None:
    assert Latency().result() == {"count": 0}
    assert Lateness().result() == {"count": 0}


def test_percentiles_are_in_milliseconds() -> None:
    latency = Latency()
    for milliseconds in range(1, 1001):
        latency.add(milliseconds / 1000)
    result = latency.result()
    expected = {"count": 1000, "p50": 500, "p90": 900, "p99": 990, "p999": 999, "max": 1000}
    assert result == pytest.approx(expected, rel=0.002)


@settings(max_examples=20)
@given(st.dictionaries(st.integers(0, 4095), st.integers(1, 5), min_size=1))
def test_lateness_is_never_shown_too_small(counts: dict[int, int]) -> None:
    late = Lateness()
    for milliseconds, frames in counts.items():
        late.counts[milliseconds] += frames
    result = late.result()
    assert result["count"] == sum(counts.values())
    assert result["max"] >= max(counts)


def test_a_value_beyond_the_scale_counts_at_its_end() -> None:
    latency = Latency()
    latency.add(3600.0)
    assert latency.result()["max"] == pytest.approx(60_000, rel=0.002)
