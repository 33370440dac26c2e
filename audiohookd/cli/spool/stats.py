"""``audiohookctl spool stats``: prints counts, sizes and ages of recordings, and the free space."""

import argparse
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from typing import Any

from audiohookd.cli.formatting import counted, size
from audiohookd.cli.spool.list_ import known_outlets
from audiohookd.cli.spool.lookup import Found, Place, State, recordings
from audiohookd.cli.spool.summary import draft_outline, sizes
from audiohookd.delivery.scan import find_orphans
from audiohookd.escaping import printable
from audiohookd.spool import paths
from audiohookd.spool.format.sidecar_reader import read_timestamp
from audiohookd.spool.lock import is_locked
from audiohookd.units import written


class Shelf:
    """Counts the recordings of one state. ``oldest``: start time of the oldest one."""

    def __init__(self) -> None:
        self.recordings = 0
        self.bytes = 0
        self.oldest: str | None = None
        self._day: str | None = None

    def add(self, found: Found) -> None:
        """Counts a recording. They arrive in the order of their days, so the first day has the oldest."""
        self.recordings += 1
        self.bytes += sum(sizes(found).values())
        directory = found.files.directory.name
        self._day = self._day or directory
        if self._day == directory:
            self.oldest = min(filter(None, (self.oldest, _started(found))), default=None)


def add_parser(actions: Any, place: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds the parser of the action and its arguments."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "stats", parents=[place], help="count recordings by state and by destination, and show the free space"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, sizes in bytes")
    return parser


def run(place: Place, arguments: argparse.Namespace) -> int:
    """Prints the counts as lines or as JSON."""
    figures = _figures(place)
    if arguments.json:
        print(json.dumps(figures))
    else:
        for line in _lines(figures):
            print(printable(line))
    return 0


def _figures(place: Place) -> dict[str, Any]:
    outlets = known_outlets(place)
    shelves = {state: Shelf() for state in State}
    waiting: Counter[str] = Counter(dict.fromkeys((*outlets.carriers, *outlets.notifiers), 0))
    for found in recordings(place.spool):
        shelves[found.state].add(found)
        if found.state is State.READY:
            waiting.update(outlets.due(found.files))
    limits = place.config and place.config.spool
    orphans = find_orphans(place.spool)
    return {
        "daemon": is_locked(place.spool),
        "states": {
            state: {"recordings": shelf.recordings, "bytes": shelf.bytes, "oldest": shelf.oldest}
            for state, shelf in shelves.items()
        },
        "waiting": waiting,
        "alone": {"files": orphans.files, "example": None if orphans.example is None else str(orphans.example)},
        "bytes": sum(shelf.bytes for shelf in shelves.values()),
        "free": shutil.disk_usage(place.spool.directory).free,
        "minFree": limits.min_free if limits else None,
        "maxSpool": limits.max_spool if limits else None,
    }


def _lines(figures: dict[str, Any]) -> Iterator[str]:
    for state, shelf in figures["states"].items():
        since = f"  oldest {shelf['oldest']}" if shelf["oldest"] else ""
        yield f"{state:<7} {counted(shelf['recordings'], 'recording'):>20}  {size(shelf['bytes']):>9}{since}"
    for name, count in figures["waiting"].items():
        yield f"waiting {counted(count, 'recording'):>20}  for {name}"
    if figures["alone"]["files"]:
        files = counted(figures["alone"]["files"], "audio file")
        yield f"alone   {files:>20}  in ready/ without a sidecar, such as {figures['alone']['example']}"
    limit = f" of {written(figures['maxSpool'], 'B')} (max_spool)" if figures["maxSpool"] else ""
    yield f"in all  {size(figures['bytes'])}{limit}"
    least = f", min_free is {written(figures['minFree'], 'B')}" if figures["minFree"] else ""
    yield f"free    {size(figures['free'])}{least}"
    yield f"daemon  {'runs' if figures['daemon'] else 'does not run'}"


def _started(found: Found) -> str | None:
    """The start time, from the head of the journal or sidecar. Reading whole sidecars would take minutes."""
    try:
        if paths.JOURNAL in found.files.suffixes:
            return str(draft_outline(found.files)["startedAt"])
        with found.files.sidecar.open("rb") as file:
            return read_timestamp(file)
    except (FileNotFoundError, ValueError):
        return None
