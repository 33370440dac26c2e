"""``audiohookctl spool``: looks after a spool, beside a running daemon and without one.

Each action is a module with ``add_parser`` and ``run``. What moves or makes files in a spool is in ``retry`` and
``repair`` alone.
"""

import argparse
from collections.abc import Callable
from typing import Any

from audiohookd.cli.spool import export, list_, repair, retry, show, stats
from audiohookd.cli.spool.location import Place, options, place_of
from audiohookd.cli.usage_error import UsageError

_ACTIONS = (list_, show, retry, export, repair, stats)


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """See :class:`audiohookd.cli.main.Command`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "spool",
        help="look after the recordings on this machine",
        description="Looks after the recordings on this machine, beside a running daemon and without one.",
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
    except OSError as fault:
        raise UsageError(f"spool: {fault.filename or 'the disk'}: {fault.strerror}") from None
