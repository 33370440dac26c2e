"""Gauges for Prometheus; each scrape reads their current values."""

from collections.abc import Callable, Mapping
from typing import Final

from audiohookd.observe.counters import labelled

#: All names, as in :data:`audiohookd.observe.counters.CATALOGUE`.
GAUGES: Final = {
    "keys": "API keys of the last successful refresh, by source",
    "key_source_failing": "whether the last refresh of keys failed, by source",
    "replay_store_down": "whether the replay store is unavailable",
    "tls_certificate_expiry_seconds": "UNIX time at which the daemon's certificate expires",
}
#: The name of the label of each gauge that has one.
GAUGE_LABELS: Final = {"keys": "source", "key_source_failing": "source"}

#: Returns the current values by label, which is empty for a gauge without one.
Figures = Callable[[], Mapping[str, int]]


def gauged(figures: Mapping[str, Figures]) -> str:
    """Formats the given gauges in the text format of Prometheus (0.0.4).

    :raises KeyError: a name is not in :data:`GAUGES`.
    """
    lines: list[str] = []
    for name, figure in sorted(figures.items()):
        metric = f"audiohookd_{name}"
        lines += (f"# HELP {metric} {GAUGES[name]}", f"# TYPE {metric} gauge")
        lines += [f"{metric}{labelled(GAUGE_LABELS.get(name), label)} {now}" for label, now in figure().items()]
    return "".join(f"{line}\n" for line in lines)
