"""``audiohookctl spool show``: all that is known of one recording."""

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from audiohookd.cli.spool import draft
from audiohookd.cli.spool.about import reason_of, recording_of, seconds, sizes
from audiohookd.cli.spool.found import Found, State, search
from audiohookd.cli.spool.listing import known_outlets
from audiohookd.cli.spool.place import Place
from audiohookd.cli.wording import span
from audiohookd.escaping import printable
from audiohookd.spool import layout


def add_parser(actions: Any, place: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Describes the arguments."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "show", parents=[place], help="all that is known of one: files, sidecar, gaps, receipts, reason"
    )
    parser.add_argument("id", metavar="ID", help="or the first characters of it, 4 at least")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    return parser


def run(place: Place, arguments: argparse.Namespace) -> int:
    """Shows it."""
    found = search(place.spool, arguments.id)
    due = known_outlets(place).due(found.files) if found.state is State.READY else []
    known = _all(found, due)
    if arguments.json:
        print(json.dumps(known))
    else:
        for line in _lines(known):
            print(line)
    return 0


def _all(found: Found, due: list[str]) -> dict[str, Any]:
    recording: Mapping[str, Any] | None = None
    reason = reason_of(found)
    try:
        is_draft = layout.JOURNAL in found.files.suffixes
        recording = draft.detail(found.files) if is_draft else recording_of(found)
    except ValueError as fault:
        reason = reason or f"cannot be read: {fault}"
    return {
        "id": found.files.id,
        "state": found.state,
        "reason": reason,
        "files": {str(path): count for path, count in sizes(found).items()},
        "receipts": dict(found.files.receipts()),
        "told": sorted(found.files.notifiers),
        "due": due,
        "recording": recording,
    }


def _lines(known: dict[str, Any]) -> Iterator[str]:
    recording = known["recording"] or {}
    rest = {name: value for name, value in recording.items() if name != "gaps"}
    length = seconds(recording)
    facts = {
        "id": known["id"],
        "state": known["state"],
        "reason": known["reason"],
        "started": recording.get("startedAt"),
        "duration": None if length is None else span(length),
        "told": ", ".join(known["told"]),
        "due": ", ".join(known["due"]),
    }
    for name, value in facts.items():
        if value:
            yield _fact(name, str(value))
    for path, count in known["files"].items():
        yield _fact("file", f"{path}  {count:,} bytes")
    for name, receipt in known["receipts"].items():
        yield _fact("stored", f"{name}  {json.dumps(receipt)}")
    for gap in recording.get("gaps", ()):
        yield _fact("gap", json.dumps(gap))
    for name, value in rest.items():
        yield _fact("recording", f"{name}  {json.dumps(value, ensure_ascii=False)}")


def _fact(name: str, text: str) -> str:
    return f"{name:<10} {printable(text)}"
