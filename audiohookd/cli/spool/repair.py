"""``audiohookctl spool repair``: recordings of what a crash left behind, where no daemon will make them."""

import argparse
import errno
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from audiohookd.cli.progress import Progress
from audiohookd.cli.spool.found import State, recordings
from audiohookd.cli.spool.place import Place, as_owner, wake
from audiohookd.cli.wording import counted
from audiohookd.escaping import printable
from audiohookd.spool.files import DIRECTORY_MODE
from audiohookd.spool.layout import Layout
from audiohookd.spool.lock import Lock
from audiohookd.spool.repair import mend


def add_parser(actions: Any, place: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Describes the arguments."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "repair", parents=[place], help="make recordings of the drafts that a crash left; a daemon does so by itself"
    )
    return parser


def run(place: Place, arguments: argparse.Namespace) -> int:
    """Repairs what no daemon has in its care."""
    with as_owner(place.spool):
        drafts = sum(1 for _ in recordings(place.spool, (State.DRAFT,)))
        with _held(place.spool) as is_ours:
            if is_ours:
                return _repair(place.spool, drafts)
        wake(place.spool)
    print(
        "a daemon runs, which repairs by itself and looks at everything now:"
        f" {counted(drafts, 'draft')}, and calls that run are among them"
    )
    return 0


@contextmanager
def _held(spool: Layout) -> Iterator[bool]:
    """Whether the spool is ours until the end of the block, as it would be a daemon's; it is not when one runs."""
    spool.draft.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    lock = Lock(spool)
    try:
        lock.hold()
    except OSError as fault:
        if fault.errno != errno.EWOULDBLOCK:
            raise
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _repair(spool: Layout, drafts: int) -> int:
    outcomes: Counter[str] = Counter()
    if drafts:
        spool.ready.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        with Progress("repaired", total=drafts) as progress:
            for mended in mend(spool):
                outcomes[mended.outcome] += 1
                why = f": {mended.reason}" if mended.reason else ""
                progress.say(printable(f"{mended.id} {mended.outcome}{why}"))
                progress.done()
    left = [f"{outcomes[outcome]:,} {outcome}" for outcome in ("broken", "failed") if outcomes[outcome]]
    empty = [f"{outcomes['empty']:,} empty and removed"] if outcomes["empty"] else []
    print(", ".join([f"{counted(drafts, 'draft')}: {outcomes['ready']:,} ready now", *empty, *left]))
    return 1 if left else 0
