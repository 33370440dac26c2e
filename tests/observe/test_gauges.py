"""Figures that go up and down, as Prometheus reads them."""

import pytest

from audiohookd.observe.gauges import GAUGE_LABELS, GAUGES, gauged


def test_prometheus_reads_them() -> None:
    figures = {"replay_store_down": lambda: {"": 1}, "keys": lambda: {"auth.aws": 2, 'a\\b"c\nd': 0}}
    assert gauged(figures).splitlines() == [
        "# HELP audiohookd_keys API keys of the last successful refresh, by source",
        "# TYPE audiohookd_keys gauge",
        'audiohookd_keys{source="auth.aws"} 2',
        r'audiohookd_keys{source="a\\b\"c\nd"} 0',
        "# HELP audiohookd_replay_store_down whether the replay store is unavailable",
        "# TYPE audiohookd_replay_store_down gauge",
        "audiohookd_replay_store_down 1",
    ]


def test_without_any_there_is_nothing() -> None:
    assert gauged({}) == ""


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(KeyError, match="key"):
        gauged({"key": dict})


def test_labels_are_of_names_that_there_are() -> None:
    assert set(GAUGE_LABELS) < set(GAUGES)
