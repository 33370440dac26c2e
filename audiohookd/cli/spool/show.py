"""``audiohookctl spool show``: prints everything about one recording."""

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from audiohookd.cli.formatting import span
from audiohookd.cli.spool.list_ import known_outlets
from audiohookd.cli.spool.lookup import Found, Place, State, search
from audiohookd.cli.spool.summary import draft_detail, reason_of, recording_of, seconds, sizes
from audiohookd.escaping import printable
from audiohookd.spool import paths


def add_parser(actions: Any, place: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds the parser of the action and its arguments."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "show", parents=[place], help="show one recording: files, sidecar, gaps, receipts, reason"
    )
    parser.add_argument("id", metavar="ID", help="the id, or at least its first 4 characters")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(place: Place, arguments: argparse.Namespace) -> int:
    """Prints one recording as lines or as JSON."""
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
        is_draft = paths.JOURNAL in found.files.suffixes
        recording = draft_detail(found.files) if is_draft else recording_of(found)
    except ValueError as error:
        reason = reason or f"cannot be read: {error}"
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
