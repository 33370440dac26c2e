"""``audiohookctl explain-signature``: why a request is refused.

Two ways: the request is given, and diagnosed here (:mod:`~audiohookd.cli.explain.from_file`); or the daemon is asked,
which has the last ones, and their secrets (:mod:`~audiohookd.cli.explain.from_daemon`).
"""

import argparse
from typing import Any

from audiohookd.cli import credentials
from audiohookd.cli.explain import from_daemon, from_file
from audiohookd.cli.usage_error import UsageError
from audiohookd.diagnostics.hypotheses import HINTS_TAKEN

ADMIN = "http://127.0.0.1:3001"


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """See :class:`audiohookd.cli.main.Command`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "explain-signature",
        help="tell why a request is refused",
        description="Tells why a request is refused, and what to do. No secret is printed. The exit code is 0 when"
        " the request would be let in (with --recent: when there is none), else 1.",
    )
    add = parser.add_argument
    add(
        "file",
        metavar="FILE",
        nargs="?",
        default="-",
        help="the request: what curl -v shows, HAR, or plain lines; default: stdin",
    )
    credentials.describe(parser, key_is_needed=False)
    add("--host", action="append", default=[], metavar="NAME", help="a name by which the caller may have called")
    add("--path", action="append", default=[], metavar="PATH", help="a path, or a prefix, that may have been changed")
    add("--authority", metavar="NAME", help="verify with this name instead of Host, as [listen] authority does")
    add("--target", metavar="PATH", help="path and query, if the file has no request line")
    add("--at", type=float, metavar="T", help="when it came, UNIX seconds (default: what the file says, else now)")
    asked = parser.add_argument_group("instead of a file")
    asked.add_argument(
        "--recent",
        type=_count,
        nargs="?",
        const=5,
        metavar="N",
        help="the last ones that the daemon refused (default: 5 of them)",
    )
    asked.add_argument("--admin", default=ADMIN, metavar="URL", help=f"where its admin port is (default {ADMIN})")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """See :class:`audiohookd.cli.main.Command`."""
    if arguments.recent is None:
        return from_file.explain_file(arguments)
    if arguments.file != "-" or arguments.secret_file or arguments.keys:
        raise UsageError("explain-signature: --recent asks the daemon: leave out the file, and the secrets")
    if arguments.authority or arguments.target or arguments.at is not None:
        raise UsageError("explain-signature: --recent has all from the daemon: leave out --authority, --target, --at")
    for name in ("host", "path"):
        if len(getattr(arguments, name)) > HINTS_TAKEN:
            raise UsageError(f"explain-signature: --recent takes --{name} {HINTS_TAKEN} times at most")
    return from_daemon.explain(arguments)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError("from 1 to 1000")
    return int(text)
