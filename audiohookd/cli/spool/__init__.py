"""``audiohookctl spool``: lists, exports, retries and repairs recordings in a spool. A daemon may run, or not.

Each action is a module with ``add_parser`` and ``run``. Only ``retry`` and ``repair`` change files in a spool.
"""

import argparse
from collections.abc import Callable
from typing import Any

from audiohookd.cli.spool import export, list_, repair, retry, show, stats
from audiohookd.cli.spool.lookup import Place, options, place_of
from audiohookd.cli.usage_error import UsageError

_ACTIONS = (list_, show, retry, export, repair, stats)


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """See :class:`audiohookd.cli.main.Command`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "spool",
        help="list, export, retry and repair the recordings on this machine",
        description="Lists, exports, retries and repairs the recordings on this machine, with or without a running"
        " daemon.",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION", title="actions")
    place = options()
    for action in _ACTIONS:
        action.add_parser(actions, place).set_defaults(act=action.run)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """See :class:`audiohookd.cli.main.Command`."""
    act: Callable[[Place, argparse.Namespace], int] = arguments.act
    try:
        return act(place_of(arguments), arguments)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"spool: {error.filename or 'the disk'}: {error.strerror}") from None
