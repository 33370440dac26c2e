"""Formats results: a table for the terminal, JSON, and reStructuredText tables for the documentation (pure)."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from bench.result import Report, Result
from bench.sizing import sizing


def as_json(machine: dict[str, str], reports: Sequence[Report]) -> str:
    """Encodes machine and reports; :func:`from_json` decodes them."""
    found = [
        {"name": report.name, "findings": [result._asdict() for result in report.findings], "rows": report.rows}
        for report in reports
    ]
    return json.dumps({"machine": machine, "reports": found}, indent=1)


def from_json(text: str) -> tuple[dict[str, str], list[Report]]:
    """Decodes machine and reports."""
    content = json.loads(text)
    reports = [
        Report(report["name"], [_result(fields) for fields in report["findings"]], report["rows"])
        for report in content["reports"]
    ]
    return content["machine"], reports


def table(reports: Iterable[Report]) -> str:
    """The table for the terminal."""
    rows = [
        (result.what, result.format_value(), _target_cell(result), result.note)
        for report in reports
        for result in report.findings
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    cells = ([*map(str.ljust, row, widths), row[3]] for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in cells)


def rst(machine: dict[str, str], reports: Sequence[Report]) -> str:
    """The tables for the documentation: the machine, the results, and the size of machine that follows from them."""
    measured = [
        (
            result.what + (f" ({result.note})" if result.note else ""),
            result.format_value(),
            result.format_target(),
        )
        for report in reports
        for result in report.findings
    ]
    parts = [
        _list_table("Measured on", ("", ""), list(machine.items())),
        _list_table("Results", ("Result", "Measured", "Target"), measured),
    ]
    sizes = sizing(reports)
    if sizes:
        parts.append(_list_table("Size of a machine", ("For 1,000 calls at a time", ""), sizes))
    return "\n".join(parts)


def _target_cell(result: Result) -> str:
    target = result.format_target()
    return f"{target}  MISSED" if target and not result.is_good else target


def _result(fields: dict[str, Any]) -> Result:
    spread = fields["spread"]
    return Result(**(fields | {"spread": None if spread is None else tuple(spread)}))


def _list_table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f".. list-table:: {title}", "   :header-rows: 1" if any(head) else "   :header-rows: 0", ""]
    for row in ([head] if any(head) else []) + list(rows):
        lines += [f"   {'*' if number == 0 else ' '} - {cell}".rstrip() for number, cell in enumerate(row)]
    return "\n".join([*lines, ""])
