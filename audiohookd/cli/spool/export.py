"""``audiohookctl spool export``: copies of recordings that are whole, verified on the way."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from audiohookd.cli.mistake import Mistake
from audiohookd.cli.progress import Progress
from audiohookd.cli.spool.copying import NotCopied, copy_recording
from audiohookd.cli.spool.found import WHOLE, Days, Found, again, audio_of, recordings, search
from audiohookd.cli.spool.listing import day
from audiohookd.cli.spool.place import Place
from audiohookd.cli.wording import counted
from audiohookd.escaping import printable
from audiohookd.spool.layout import Layout
from audiohookd.spool.shelf import Recording

#: How often a recording is looked for that moves from one state to another meanwhile.
_LOOKS = 3


def add_parser(actions: Any, place: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Describes the arguments."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "export",
        parents=[place],
        help="copy recordings that are whole to a directory, verified",
        usage="%(prog)s [options] (ID... | --all | --since DAY) DEST",
    )
    add = parser.add_argument
    add("words", metavar="ID... DEST", nargs="+", help="ids, or the first characters of them; last a directory")
    add("--all", action="store_true", help="ready, done and dead ones")
    add("--since", type=day, metavar="DAY", help="those begun on DAY or later, as 2026-01-31 (UTC)")
    return parser


def run(place: Place, arguments: argparse.Namespace) -> int:
    """Copies to ``DEST/DAY``. What is there already, and the same, is not copied again."""
    *ids, destination = arguments.words
    if bool(ids) + arguments.all + bool(arguments.since) != 1:
        raise Mistake("spool export: give ids, or --all, or --since DAY, and last a directory")
    outcomes: Counter[str] = Counter()
    wanted = _wanted(place.spool, ids, arguments.since)
    with Progress("exported", total=len(ids) or None) as progress:
        for found in wanted:
            try:
                outcomes[_export(place.spool, found, Path(destination), progress)] += 1
            except NotCopied as why:
                outcomes["failed"] += 1
                progress.say(printable(f"audiohookctl: spool: {found.files.id}: {why}"), sys.stderr)
            progress.done()
    print(_sum(outcomes, destination))
    return 1 if outcomes["failed"] else 0


def _wanted(spool: Layout, ids: list[str], since: str | None) -> Iterator[Found]:
    if ids:
        return iter([search(spool, prefix, WHOLE) for prefix in ids])
    return recordings(spool, WHOLE, Days(since or ""))


def _export(spool: Layout, found: Found, destination: Path, progress: Progress) -> str:
    """What became of it. A daemon may move or delete it at any moment."""
    now: Recording | None = found.files
    for _ in range(_LOOKS):
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
        said.append(f"{outcomes['alone']:,} of them without the audio, which was carried away")
    if outcomes["there"]:
        said.append(f"{outcomes['there']:,} were there")
    if outcomes["gone"]:
        said.append(f"{outcomes['gone']:,} were delivered and deleted meanwhile")
    if outcomes["failed"]:
        said.append(f"{outcomes['failed']:,} failed")
    return ", ".join(said)
