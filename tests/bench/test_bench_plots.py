from pathlib import Path
from xml.etree import ElementTree as ET

from bench.plots import draw
from bench.result import Report, Result


def test_measured_scenarios_are_drawn(tmp_path: Path) -> None:
    findings = [Result("daemon-200", "", 31.5, "µs"), Result("stock-200", "", 75.0, "µs")]
    ranks = {"count": 5, "p50": 1.0, "p90": 2.0, "p99": 3.0, "max": 4.0}
    answered = {"sessions": 500, "share": 0.2, "opened": ranks, "round_trip": {"count": 0}}
    reports = [
        Report("frames-200", findings, [{"sessions": 500}]),
        Report("growth", [], [{"sessions": 100, "microseconds": 33.0}, {"sessions": 2000, "microseconds": 29.0}]),
        Report("arrivals", [], [answered]),
    ]
    drawn = draw(reports, tmp_path)
    assert [path.name for path in drawn] == ["frames.svg", "growth.svg", "latency.svg"]
    texts = ["".join(ET.fromstring(path.read_text()).itertext()) for path in drawn]  # noqa: S314 - our own
    assert "31.5" in texts[0]
    assert "75.0" in texts[0]
    assert "2000" in texts[1]
    assert "500 calls, 20%" in texts[2]
    assert all('href="http' not in path.read_text() for path in drawn), "a plot loads nothing from a network"


def test_failed_scenarios_are_not_drawn(tmp_path: Path) -> None:
    failed = Result("growth-failed", "calls that failed", 1, "", 0)
    assert draw([Report("growth", [failed], [])], tmp_path) == []
    assert list(tmp_path.iterdir()) == []
