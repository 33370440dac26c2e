"""``audiohookctl spool retry``: moves dead letters back to ``ready``, where the daemon retries them."""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from audiohookd.cli.formatting import counted
from audiohookd.cli.spool.lookup import Found, Place, State, as_owner, daemon_runs, recordings, search, wake
from audiohookd.cli.usage_error import UsageError
from audiohookd.escaping import printable
from audiohookd.spool import catalog, paths
from audiohookd.spool.catalog import Recording
from audiohookd.spool.finalize import sync_directory
from audiohookd.spool.paths import DIRECTORY_MODE, SpoolPaths


class NotRevived(Exception):
    """A recording was not moved and stays a dead letter. The text says why."""


def add_parser(actions: Any, place: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds the parser of the action and its arguments."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "retry",
        parents=[place],
        help="move dead letters back to ready/, and make a running daemon retry everything at once",
        usage="%(prog)s [options] (ID... | --dead | --all)",
    )
    add = parser.add_argument
    add("ids", metavar="ID", nargs="*", help="an id, or at least its first 4 characters")
    add("--dead", action="store_true", help="retry all dead letters")
    add("--all", action="store_true", help="retry all dead letters and all recordings in ready/")
    return parser


def run(place: Place, arguments: argparse.Namespace) -> int:
    """Moves dead letters to ``ready``, deletes the rejections of ready recordings, and always wakes the daemon."""
    if bool(arguments.ids) + arguments.dead + arguments.all != 1:
        raise UsageError("spool retry: give ids, --dead or --all")
    revived = failed = 0
    suffixes = cache(partial(suffixes_of, place.spool))
    with as_owner(place.spool):
        for found in list(_named(place.spool, arguments.ids)) or recordings(place.spool, (State.DEAD,)):
            try:
                revived += _retry(place.spool, found, suffixes)
            except NotRevived as error:
                failed += 1
                print(printable(f"audiohookctl: spool: {found.files.id}: {error}"), file=sys.stderr)
        for found in recordings(place.spool, (State.READY,)) if arguments.all else ():
            forget_refusals(found.files)
        wake(place.spool)
    print(f"{counted(revived, 'dead letter')} moved back to ready/; {_next_retry(place.spool, arguments.all)}")
    return 1 if failed else 0


def _named(spool: SpoolPaths, ids: list[str]) -> Iterator[Found]:
    return (search(spool, prefix, (State.DEAD, State.READY)) for prefix in ids)


def _retry(spool: SpoolPaths, found: Found, suffixes: Callable[[str], frozenset[str]]) -> bool:
    if found.state is State.READY:
        forget_refusals(found.files)
        print(printable(f"{found.files.id} waits in ready/"))
        return False
    revive(spool, found.files, suffixes(found.files.day))
    print(printable(f"{found.files.id} is ready again"))
    return True


def suffixes_of(spool: SpoolPaths, day: str) -> frozenset[str]:
    """The suffixes of all files of a day in ``dead`` and ``ready``: few, because destinations give the names."""
    days = (spool.ready / day, spool.dead / day)
    return frozenset(
        suffix for place in days for recording in catalog.iter_day(place) for suffix in recording.suffixes
    )


def revive(spool: SpoolPaths, dead: Recording, suffixes: frozenset[str]) -> None:
    """Moves a dead letter to ``ready``. If this is interrupted, running it again completes it.

    The order matters. The reason is deleted first: while it exists, files in ``ready`` count as on their way to
    ``dead``. Then all rejections are deleted, in both directories, because a destination that rejected the recording
    is not tried. The sidecar is moved last: it turns the files beside it into a recording.

    :param suffixes: other suffixes that the recording may have; see :func:`suffixes_of`. Finding them here would list
        the whole day for each of its thousands of recordings.
    :raises NotRevived: the daemon is making it a dead letter now, or ``ready`` has files of the same name.
    :raises OSError: the disk reported an error.
    """
    directory = spool.ready / dead.day
    there = catalog.stat_recording(directory, dead.id, dead.suffixes | {paths.AUDIO}).suffixes
    if there & dead.suffixes:
        raise NotRevived(f"{directory} already has its {', '.join(sorted(there & dead.suffixes))}")
    if there and paths.REASON in dead.suffixes and daemon_runs(spool):
        raise NotRevived("the daemon is moving it: retry in a moment")
    directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    dead.path(paths.REASON).unlink(missing_ok=True)
    sync_directory(dead.directory)
    for place in (dead, catalog.stat_recording(directory, dead.id, suffixes)):
        forget_refusals(place)
    for suffix in sorted(dead.suffixes - _refusals(dead) - {paths.REASON, paths.SIDECAR}):
        _move(dead, suffix, directory)
    sync_directory(directory)
    _move(dead, paths.SIDECAR, directory)
    # A daemon that has just started may have moved them back.
    for suffix in catalog.stat_recording(dead.directory, dead.id, suffixes).suffixes:
        _move(dead, suffix, directory)
    sync_directory(directory)
    sync_directory(dead.directory)


def forget_refusals(recording: Recording) -> None:
    """Deletes the rejections of all destinations, so that they are tried again."""
    for suffix in _refusals(recording):
        recording.path(suffix).unlink(missing_ok=True)


def _refusals(recording: Recording) -> set[str]:
    return {paths.rejected_suffix(name) for name in paths.names(recording.suffixes, "refused")}


def _move(dead: Recording, suffix: str, directory: Path) -> None:
    path = dead.path(suffix)
    path.rename(directory / path.name)


def _next_retry(spool: SpoolPaths, is_all: bool) -> str:
    waiting = sum(1 for _ in recordings(spool, (State.READY,))) if is_all else None
    scope = "everything" if waiting is None else f"all {counted(waiting, 'recording')} in ready/"
    if daemon_runs(spool):
        return f"the daemon retries {scope} now"
    return f"no daemon runs: it retries {scope} when it starts"
