"""What a scenario found: one line of the table each, with what it must reach (pure)."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple


class Result(NamedTuple):
    """``value`` in ``unit``; ``spread`` is its smallest and largest where it is a median."""

    key: str
    what: str
    value: float
    unit: str
    #: None where there is nothing to reach.
    at_most: float | None = None
    spread: tuple[float, float] | None = None
    note: str = ""

    @property
    def is_good(self) -> bool:
        """It is what it must be."""
        return self.at_most is None or self.value <= self.at_most

    def shown(self) -> str:
        """The value with its unit, and its spread."""
        text = f"{number(self.value)} {self.unit}".strip()
        if self.spread is None:
            return text
        return f"{text} ({number(self.spread[0])} to {number(self.spread[1])})"

    def wanted(self) -> str:
        """What it must reach, in words; empty for nothing."""
        return "" if self.at_most is None else f"at most {number(self.at_most)}"


class Report(NamedTuple):
    """All that one scenario has to say; ``rows`` are its measurements, for JSON and the plots."""

    name: str
    findings: list[Result]
    rows: list[dict[str, Any]]


def median(values: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """And the smallest and the largest, of more than one."""
    return statistics.median(values), (min(values), max(values)) if len(values) > 1 else None


def number(value: float) -> str:
    """To about three digits."""
    if value == int(value) and abs(value) < 1e9:
        return str(int(value))
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
