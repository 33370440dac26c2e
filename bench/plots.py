"""Plots of the results, in SVG."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pygal
from pygal.style import CleanStyle

from bench.result import Report

# pygal installs a finder for its plugins that runs at every later import, with an interface that Python has dropped.
sys.meta_path = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]

_COMMON: dict[str, Any] = {"style": CleanStyle, "js": (), "width": 800, "height": 480, "print_values": True}


def draw(reports: Sequence[Report], directory: Path) -> list[Path]:
    """Writes the plots of the measured scenarios, and returns their files."""
    by_name = {report.name: report for report in reports if report.rows}
    charts = {"frames.svg": _frames(by_name), "growth.svg": _growth(by_name), "latency.svg": _latency(reports)}
    drawn = []
    for name, chart in charts.items():
        if chart is not None:
            (directory / name).write_bytes(chart.render())
            drawn.append(directory / name)
    return drawn


def _frames(reports: dict[str, Report]) -> Any:
    lengths = [frame for frame in (200, 20) if f"frames-{frame}" in reports]
    if not lengths:
        return None
    chart = pygal.Bar(title="Processor for each frame", y_title="µs", value_formatter=_rounded, **_COMMON)
    chart.x_labels = [f"{frame} ms" for frame in lengths]
    for side, label in (("stock", "stock Autobahn, audio discarded"), ("daemon", "audiohookd, audio recorded")):
        chart.add(label, [_value(reports[f"frames-{frame}"], f"{side}-{frame}") for frame in lengths])
    return chart


def _growth(reports: dict[str, Report]) -> Any:
    if "growth" not in reports:
        return None
    chart = pygal.XY(
        title="Processor for each frame of 200 ms",
        x_title="calls",
        y_title="µs",
        value_formatter=_rounded,
        x_value_formatter=str,
        range=(0, 1.2 * max(row["microseconds"] for row in reports["growth"].rows)),
        **(_COMMON | {"print_values": False}),
    )
    points = sorted((row["sessions"], row["microseconds"]) for row in reports["growth"].rows)
    chart.x_labels = sorted({calls for calls, _ in points})
    chart.add("audiohookd", points)
    return chart


def _latency(reports: Sequence[Report]) -> Any:
    shown = {"open to opened": "opened", "ping to pong": "round_trip"}
    rows = [row for report in reports if report.name in ("arrivals", "pongs") for row in report.rows]
    if not rows:
        return None
    chart = pygal.Bar(title="Answers", y_title="ms", value_formatter=_rounded, **_COMMON)
    ranks = ("p50", "p90", "p99", "max")
    chart.x_labels = ranks
    for row in rows:
        for label, name in shown.items():
            if row[name]["count"]:
                load = f"{row['sessions']} calls, {row['share']:.0%}"
                chart.add(f"{label}, {load}", [row[name][rank] for rank in ranks])
    return chart


def _value(report: Report, key: str) -> float:
    return next(result.value for result in report.findings if result.key == key)


def _rounded(value: float) -> str:
    return f"{value:.1f}"
