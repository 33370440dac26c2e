"""What is so now: figures that go up and down, asked for when somebody looks."""

from collections.abc import Callable, Mapping
from typing import Final

from audiohookd.observe.counters import labelled

#: Every name there is, as in :data:`audiohookd.observe.counters.CATALOGUE`.
GAUGES: Final = {
    "keys": "API keys that a source gave last, by source",
    "key_source_failing": "whether keys could not be loaded again the last time, by source",
    "replay_store_down": "whether the replay store is down",
    "tls_certificate_expiry_seconds": "UNIX time at which our certificate expires",
}
#: What the label of a name says, for those that have one.
GAUGE_LABELS: Final = {"keys": "source", "key_source_failing": "source"}

#: Figures by label, which is empty where there is none.
Figures = Callable[[], Mapping[str, int]]


def gauged(figures: Mapping[str, Figures]) -> str:
    """Those of :data:`GAUGES` that are handed in, in the text format of Prometheus (0.0.4).

    :raises KeyError: a name that is not in :data:`GAUGES`.
    """
    lines: list[str] = []
    for name, figure in sorted(figures.items()):
        metric = f"audiohookd_{name}"
        lines += (f"# HELP {metric} {GAUGES[name]}", f"# TYPE {metric} gauge")
        lines += [f"{metric}{labelled(GAUGE_LABELS.get(name), label)} {now}" for label, now in figure().items()]
    return "".join(f"{line}\n" for line in lines)
