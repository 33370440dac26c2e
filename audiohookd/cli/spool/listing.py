"""``audiohookctl spool list``: a line for each recording, as it is found."""

import argparse
import sys
from typing import Any

import msgspec

from audiohookd.cli.spool.about import About, about
from audiohookd.cli.spool.found import Days, State, recordings
from audiohookd.cli.spool.outlets import Outlets, outlets_of
from audiohookd.cli.spool.place import Place
from audiohookd.cli.wording import size, span
from audiohookd.escaping import printable
from audiohookd.spool.layout import DAY


def add_parser(actions: Any, place: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Describes the arguments."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "list", parents=[place], help="what is there: state, id, start, duration, size, and who has it or has not"
    )
    add = parser.add_argument
    add("--state", action="append", type=State, choices=list(State), help="only these; may be repeated")
    days = parser.add_mutually_exclusive_group()
    days.add_argument("--since", type=day, metavar="DAY", help="begun on DAY or later, as 2026-01-31 (UTC)")
    days.add_argument("--day", type=day, metavar="DAY", help="begun on DAY")
    add("--json", action="store_true", help="one JSON object a line")
    return parser


def run(place: Place, arguments: argparse.Namespace) -> int:
    """Lists. What is delivered meanwhile may be missing, and nothing comes twice in one state."""
    outlets = known_outlets(place)
    days = Days(arguments.day, arguments.day) if arguments.day else Days(arguments.since or "")
    for found in recordings(place.spool, arguments.state or tuple(State), days):
        known = about(found, outlets.due(found.files))
        if known is not None and days.has(known.day):
            print(printable(msgspec.json.encode(known).decode()) if arguments.json else _line(known))
    return 0


def known_outlets(place: Place) -> Outlets:
    """Those of the configuration; a line on stderr for each that cannot be known."""
    outlets = Outlets() if place.config is None else outlets_of(place.config)
    for line in outlets.unknown:
        print(f"audiohookctl: spool: {printable(line)}", file=sys.stderr)
    return outlets


def day(text: str) -> str:
    """A day as the spool has it."""
    if not DAY.fullmatch(text):
        raise argparse.ArgumentTypeError(f"a day as 2026-01-31, not {text!r}")
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
