"""``audiohookctl spool repair``: recovers drafts that a crash left, if no daemon runs to do it."""

import argparse
import errno
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from audiohookd.cli.formatting import counted
from audiohookd.cli.progress import Progress
from audiohookd.cli.spool.lookup import Place, State, as_owner, recordings, wake
from audiohookd.escaping import printable
from audiohookd.spool.lock import Lock
from audiohookd.spool.paths import DIRECTORY_MODE, SpoolPaths
from audiohookd.spool.repair import repair_drafts


def add_parser(actions: Any, place: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds the parser of the action and its arguments."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "repair", parents=[place], help="recover drafts that a crash left; a running daemon does this by itself"
    )
    return parser


def run(place: Place, arguments: argparse.Namespace) -> int:
    """Repairs all drafts if no daemon runs. Otherwise makes the daemon scan its spool."""
    with as_owner(place.spool):
        drafts = sum(1 for _ in recordings(place.spool, (State.DRAFT,)))
        with _held(place.spool) as is_ours:
            if is_ours:
                return _repair(place.spool, drafts)
        wake(place.spool)
    print(
        "nothing repaired: a daemon runs, which repairs drafts by itself and scans the spool now:"
        f" {counted(drafts, 'draft')}, including calls in progress"
    )
    return 0


@contextmanager
def _held(spool: SpoolPaths) -> Iterator[bool]:
    """Locks the spool for the block, as a daemon does. Yields False if a daemon holds the lock."""
    spool.draft.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    lock = Lock(spool)
    try:
        lock.hold()
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK:
            raise
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _repair(spool: SpoolPaths, drafts: int) -> int:
    outcomes: Counter[str] = Counter()
    if drafts:
        spool.ready.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        with Progress("repaired", total=drafts) as progress:
            for result in repair_drafts(spool):
                outcomes[result.outcome] += 1
                why = f": {result.reason}" if result.reason else ""
                progress.say(printable(f"{result.id} {result.outcome}{why}"))
                progress.done()
    left = [f"{outcomes[outcome]:,} {outcome}" for outcome in ("broken", "failed") if outcomes[outcome]]
    empty = [f"{outcomes['empty']:,} empty and removed"] if outcomes["empty"] else []
    print(", ".join([f"{counted(drafts, 'draft')}: {outcomes['ready']:,} ready now", *empty, *left]))
    return 1 if left else 0
