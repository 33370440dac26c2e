"""The results: a table for the terminal, JSON to keep, tables in reStructuredText for the documentation (pure)."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from bench.result import Report, Result
from bench.sizing import sizing


def as_json(machine: dict[str, str], reports: Sequence[Report]) -> str:
    """All of it; :func:`from_json` reads it again."""
    found = [
        {"name": report.name, "findings": [one._asdict() for one in report.findings], "rows": report.rows}
        for report in reports
    ]
    return json.dumps({"machine": machine, "reports": found}, indent=1)


def from_json(text: str) -> tuple[dict[str, str], list[Report]]:
    """Machine and reports."""
    content = json.loads(text)
    reports = [
        Report(one["name"], [_finding(fields) for fields in one["findings"]], one["rows"])
        for one in content["reports"]
    ]
    return content["machine"], reports


def table(reports: Iterable[Report]) -> str:
    """For the terminal."""
    rows = [
        (one.what, one.shown(), one.wanted() and f"{one.wanted()}{'' if one.is_good else '  MISSED'}", one.note)
        for report in reports
        for one in report.findings
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    cells = ([*map(str.ljust, row, widths), row[3]] for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in cells)


def rst(machine: dict[str, str], reports: Sequence[Report]) -> str:
    """For the documentation: the machine, what was found, and what it means for the size of a machine."""
    findings = [one for report in reports for one in report.findings]
    measured = [(one.what + (f" ({one.note})" if one.note else ""), one.shown(), one.wanted()) for one in findings]
    parts = [
        _list_table("Measured on", ("", ""), list(machine.items())),
        _list_table("Results", ("What", "Measured", "Wanted"), measured),
    ]
    sizes = sizing(reports)
    if sizes:
        parts.append(_list_table("Size of a machine", ("For 1,000 calls at a time", ""), sizes))
    return "\n".join(parts)


def _finding(fields: dict[str, Any]) -> Result:
    spread = fields["spread"]
    return Result(**(fields | {"spread": None if spread is None else tuple(spread)}))


def _list_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f".. list-table:: {title}", "   :header-rows: 1" if any(head) else "   :header-rows: 0", ""]
    for row in ([head] if any(head) else []) + list(rows):
        lines += [f"   {'*' if number == 0 else ' '} - {cell}".rstrip() for number, cell in enumerate(row)]
    return "\n".join([*lines, ""])
