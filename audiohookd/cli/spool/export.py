"""``audiohookctl spool export``: copies finished recordings to a directory, and verifies them."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audiohookd.cli.formatting import counted
from audiohookd.cli.progress import Progress
from audiohookd.cli.spool.copy import NotCopied, copy_recording
from audiohookd.cli.spool.list_ import day
from audiohookd.cli.spool.location import Place
from audiohookd.cli.spool.lookup import WHOLE, Days, Found, again, audio_of, recordings, search
from audiohookd.cli.usage_error import UsageError
from audiohookd.escaping import printable
from audiohookd.spool.catalog import Recording
from audiohookd.spool.paths import SpoolPaths

#: Attempts to copy a recording that moves from one state to another during the copy.
_ATTEMPTS = 3


def add_parser(actions: Any, place: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds the parser of the action and its arguments."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "export",
        parents=[place],
        help="copy finished recordings to a directory, and verify them",
        usage="%(prog)s [options] (ID... | --all | --since DAY) DEST",
    )
    add = parser.add_argument
    add("words", metavar="ID... DEST", nargs="+", help="ids or prefixes of ids, then the directory to copy to")
    add("--all", action="store_true", help="all recordings in ready/, done/ and dead/")
    add("--since", type=day, metavar="DAY", help="recordings started on DAY or later, such as 2026-01-31 (UTC)")
    return parser


def run(place: Place, arguments: argparse.Namespace) -> int:
    """Copies recordings to ``DEST/DAY``. Skips files that are there with the same content."""
    *ids, destination = arguments.words
    if bool(ids) + arguments.all + bool(arguments.since) != 1:
        raise UsageError("spool export: give ids, --all or --since DAY, then the directory to copy to")
    outcomes: Counter[str] = Counter()
    wanted = _wanted(place.spool, ids, arguments.since)
    with Progress("exported", total=len(ids) or None) as progress:
        for found in wanted:
            try:
                outcomes[_export(place.spool, found, Path(destination), progress)] += 1
            except NotCopied as error:
                outcomes["failed"] += 1
                progress.say(printable(f"audiohookctl: spool: {found.files.id}: {error}"), sys.stderr)
            progress.done()
    print(_sum(outcomes, destination))
    return 1 if outcomes["failed"] else 0


def _wanted(spool: SpoolPaths, ids: list[str], since: str | None) -> Iterator[Found]:
    if ids:
        return iter([search(spool, prefix, WHOLE) for prefix in ids])
    return recordings(spool, WHOLE, Days(since or ""))


def _export(spool: SpoolPaths, found: Found, destination: Path, progress: Progress) -> str:
    """Exports one recording, and returns the outcome. A daemon may move or delete the recording at any moment."""
    now: Recording | None = found.files
    for _ in range(_ATTEMPTS):
        if now is None:
            return "gone"
        try:
            return copy_recording(now, audio_of(spool, now), destination / now.day, progress.read)
        except FileNotFoundError:
            now = again(spool, now)
    raise NotCopied("the audio is missing")


def _sum(outcomes: Counter[str], destination: str) -> str:
    said = [f"{counted(outcomes['copied'] + outcomes['alone'], 'recording')} exported to {destination}"]
    if outcomes["alone"]:
        said.append(f"{outcomes['alone']:,} of them without audio, which was uploaded and deleted here")
    if outcomes["there"]:
        said.append(f"{outcomes['there']:,} exported before")
    if outcomes["gone"]:
        said.append(f"{outcomes['gone']:,} delivered and deleted during the export")
    if outcomes["failed"]:
        said.append(f"{outcomes['failed']:,} failed")
    return ", ".join(said)
