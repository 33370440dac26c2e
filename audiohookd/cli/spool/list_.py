"""``audiohookctl spool list``: prints a line for each recording."""

import argparse
import sys
from typing import Any

import msgspec

from audiohookd.cli.formatting import size, span
from audiohookd.cli.spool.destinations import Outlets, outlets_of
from audiohookd.cli.spool.lookup import Days, Place, State, recordings
from audiohookd.cli.spool.summary import About, about
from audiohookd.escaping import printable
from audiohookd.spool.paths import DAY


def add_parser(actions: Any, place: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds the parser of the action and its arguments."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "list", parents=[place], help="list recordings: state, id, start, duration, size, and destinations"
    )
    add = parser.add_argument
    add("--state", action="append", type=State, choices=list(State), help="list only this state; may be repeated")
    days = parser.add_mutually_exclusive_group()
    days.add_argument("--since", type=day, metavar="DAY", help="started on DAY or later, such as 2026-01-31 (UTC)")
    days.add_argument("--day", type=day, metavar="DAY", help="started on DAY")
    add("--json", action="store_true", help="print one JSON object per line")
    return parser


def run(place: Place, arguments: argparse.Namespace) -> int:
    """Lists recordings. A delivery during the listing may hide a recording, but none appears twice in one state."""
    outlets = known_outlets(place)
    days = Days(arguments.day, arguments.day) if arguments.day else Days(arguments.since or "")
    for found in recordings(place.spool, arguments.state or tuple(State), days):
        known = about(found, outlets.due(found.files))
        if known is not None and days.has(known.day):
            print(printable(msgspec.json.encode(known).decode()) if arguments.json else _line(known))
    return 0


def known_outlets(place: Place) -> Outlets:
    """The destinations in the configuration. Prints a line to stderr for each plugin that cannot be imported."""
    outlets = Outlets() if place.config is None else outlets_of(place.config)
    for line in outlets.unknown:
        print(f"audiohookctl: spool: {printable(line)}", file=sys.stderr)
    return outlets


def day(text: str) -> str:
    """Parses a day such as ``2026-01-31``, for argparse.

    :raises ArgumentTypeError: the text is not a day.
    """
    if not DAY.fullmatch(text):
        raise argparse.ArgumentTypeError(f"not a day such as 2026-01-31: {text!r}")
    return text


def _line(known: About) -> str:
    started = (known.started or "-")[:19].replace("T", " ")
    duration = "-" if known.duration is None else span(known.duration)
    line = f"{known.state:<6} {known.id} {started:<19} {duration:>8} {size(known.bytes):>9}"
    return printable(f"{line}  {'; '.join(_remarks(known))}".rstrip())


def _remarks(known: About) -> list[str]:
    lists = {"stored": known.stored, "told": known.told, "due": known.due}
    remarks = [f"{word} {', '.join(names)}" for word, names in lists.items() if names]
    remarks += ["recovered"] if known.recovered else []
    return remarks + ([known.reason] if known.reason else [])
