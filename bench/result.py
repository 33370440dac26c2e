"""The results of a scenario: each is one line of the table, with its target (pure)."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple


class Result(NamedTuple):
    """One result: ``value`` in ``unit``. ``spread`` is the smallest and largest value if it is a median."""

    key: str
    what: str
    value: float
    unit: str
    #: The target; None if there is none.
    at_most: float | None = None
    spread: tuple[float, float] | None = None
    note: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the value reaches the target."""
        return self.at_most is None or self.value <= self.at_most

    def format_value(self) -> str:
        """The value with its unit and its spread, as text."""
        text = f"{number(self.value)} {self.unit}".strip()
        if self.spread is None:
            return text
        return f"{text} ({number(self.spread[0])} to {number(self.spread[1])})"

    def format_target(self) -> str:
        """The target in words; empty if there is none."""
        return "" if self.at_most is None else f"at most {number(self.at_most)}"


class Report(NamedTuple):
    """The results of one scenario. ``rows`` are its measurements, for JSON and the plots."""

    name: str
    findings: list[Result]
    rows: list[dict[str, Any]]


def median(values: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """The median, and the smallest and largest value if there are several."""
    return statistics.median(values), (min(values), max(values)) if len(values) > 1 else None


def number(value: float) -> str:
    """Formats ``value`` with about three digits."""
    if value == int(value) and abs(value) < 1e9:
        return str(int(value))
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
