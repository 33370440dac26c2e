"""``audiohookctl spool retry``: dead letters go back to where the daemon finds them."""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from audiohookd.cli.mistake import Mistake
from audiohookd.cli.spool.found import Found, State, recordings, search
from audiohookd.cli.spool.place import Place, as_owner, daemon_runs, wake
from audiohookd.cli.wording import counted
from audiohookd.escaping import printable
from audiohookd.spool import layout, shelf
from audiohookd.spool.files import DIRECTORY_MODE
from audiohookd.spool.layout import Layout
from audiohookd.spool.ready import sync_directory
from audiohookd.spool.shelf import Recording


class NotRevived(Exception):
    """It stays a dead letter; the text says why."""


def add_parser(actions: Any, place: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Describes the arguments."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "retry",
        parents=[place],
        help="dead letters go back to ready/, and a running daemon tries everything at once",
        usage="%(prog)s [options] (ID... | --dead | --all)",
    )
    add = parser.add_argument
    add("ids", metavar="ID", nargs="*", help="or the first characters of it, 4 at least")
    add("--dead", action="store_true", help="all dead letters")
    add("--all", action="store_true", help="all dead letters, and what waits in ready/")
    return parser


def run(place: Place, arguments: argparse.Namespace) -> int:
    """Moves what is dead, forgets who refused what waits, and wakes the daemon in any case."""
    if bool(arguments.ids) + arguments.dead + arguments.all != 1:
        raise Mistake("spool retry: give ids, or --dead, or --all")
    revived = failed = 0
    suffixes = cache(partial(suffixes_of, place.spool))
    with as_owner(place.spool):
        for found in list(_named(place.spool, arguments.ids)) or recordings(place.spool, (State.DEAD,)):
            try:
                revived += _retry(place.spool, found, suffixes)
            except NotRevived as why:
                failed += 1
                print(printable(f"audiohookctl: spool: {found.files.id}: {why}"), file=sys.stderr)
        for found in recordings(place.spool, (State.READY,)) if arguments.all else ():
            forget_refusals(found.files)
        wake(place.spool)
    print(f"{counted(revived, 'dead letter')} went back to ready/; {_prospect(place.spool, arguments.all)}")
    return 1 if failed else 0


def _named(spool: Layout, ids: list[str]) -> Iterator[Found]:
    return (search(spool, prefix, (State.DEAD, State.READY)) for prefix in ids)


def _retry(spool: Layout, found: Found, suffixes: Callable[[str], frozenset[str]]) -> bool:
    if found.state is State.READY:
        forget_refusals(found.files)
        print(printable(f"{found.files.id} waits in ready/"))
        return False
    revive(spool, found.files, suffixes(found.files.day))
    print(printable(f"{found.files.id} is ready again"))
    return True


def suffixes_of(spool: Layout, day: str) -> frozenset[str]:
    """Of all files of dead letters of that day, and of those that wait: few, for they are named after outlets."""
    days = (spool.ready / day, spool.dead / day)
    return frozenset(suffix for place in days for one in shelf.of_day(place) for suffix in one.suffixes)


def revive(spool: Layout, dead: Recording, suffixes: frozenset[str]) -> None:
    """Moves it to ``ready``. Whatever ends this, doing it again completes it.

    The reason goes first: with it, files that are in ``ready`` are on their way here. Then go all refusals, here and
    there, for who refused it is not asked. The sidecar goes last: it makes a recording of the files around it.

    :param suffixes: what else may be there of it; see :func:`suffixes_of`. To look for that would be to list the
        whole day, for each of a day's thousands.
    :raises NotRevived: it is just becoming a dead letter, or other files of its name are in ``ready``.
    :raises OSError: the disk refused.
    """
    directory = spool.ready / dead.day
    there = shelf.look(directory, dead.id, dead.suffixes | {layout.AUDIO}).suffixes
    if there & dead.suffixes:
        raise NotRevived(f"{directory} has its {', '.join(sorted(there & dead.suffixes))} already")
    if there and layout.REASON in dead.suffixes and daemon_runs(spool):
        raise NotRevived("the daemon is moving it just now: try again")
    directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    dead.path(layout.REASON).unlink(missing_ok=True)
    sync_directory(dead.directory)
    for place in (dead, shelf.look(directory, dead.id, suffixes)):
        forget_refusals(place)
    for suffix in sorted(dead.suffixes - _refusals(dead) - {layout.REASON, layout.SIDECAR}):
        _move(dead, suffix, directory)
    sync_directory(directory)
    _move(dead, layout.SIDECAR, directory)
    # A daemon that starts just now may have taken them back.
    for suffix in shelf.look(dead.directory, dead.id, suffixes).suffixes:
        _move(dead, suffix, directory)
    sync_directory(directory)
    sync_directory(dead.directory)


def forget_refusals(recording: Recording) -> None:
    """Of all outlets, so that they are asked again."""
    for suffix in _refusals(recording):
        recording.path(suffix).unlink(missing_ok=True)


def _refusals(recording: Recording) -> set[str]:
    return {layout.refused(name) for name in layout.names(recording.suffixes, "refused")}


def _move(dead: Recording, suffix: str, directory: Path) -> None:
    path = dead.path(suffix)
    path.rename(directory / path.name)


def _prospect(spool: Layout, is_all: bool) -> str:
    waiting = sum(1 for _ in recordings(spool, (State.READY,))) if is_all else None
    what = "everything" if waiting is None else f"all {counted(waiting, 'recording')} in ready/"
    if daemon_runs(spool):
        return f"the daemon tries {what} now"
    return f"no daemon runs: the next one tries {what} when it starts"
