"""``audiohookctl explain-signature``: explains why a request is rejected.

There are two ways. :mod:`~audiohookd.cli.explain.from_file` diagnoses a request that the user has.
:mod:`~audiohookd.cli.explain.from_daemon` asks the daemon, which has the secrets and its latest rejected requests.
"""

import argparse
from typing import Any

from audiohookd.cli import credentials
from audiohookd.cli.admin_port import ADMIN
from audiohookd.cli.explain import from_daemon, from_file
from audiohookd.cli.usage_error import UsageError
from audiohookd.diagnostics.hypotheses import HINTS_TAKEN


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """See :class:`audiohookd.cli.main.Command`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "explain-signature",
        help="explain why a request is rejected",
        description="Explains why a request is rejected, and what to do. Never prints a secret. The exit code is 0 if"
        " the request would be accepted (with --recent: if the daemon has rejected none), else 1.",
    )
    add = parser.add_argument
    add(
        "file",
        metavar="FILE",
        nargs="?",
        default="-",
        help="the request: output of curl -v, a HAR file, or its header lines (default: stdin)",
    )
    credentials.describe(parser, key_is_needed=False)
    add("--host", action="append", default=[], metavar="NAME", help="a host name that the client may have signed")
    add("--path", action="append", default=[], metavar="PATH", help="a path or prefix that a proxy may have changed")
    add("--authority", metavar="NAME", help="verify with this name instead of Host, as [listen] authority does")
    add("--target", metavar="PATH", help="path and query, if the file has no request line")
    add("--at", type=float, metavar="T", help="arrival time, UNIX seconds (default: the date in the file, else now)")
    daemon = parser.add_argument_group("instead of a file")
    daemon.add_argument(
        "--recent",
        type=_count,
        nargs="?",
        const=5,
        metavar="N",
        help="explain the latest N requests that the daemon rejected (default: 5)",
    )
    daemon.add_argument("--admin", default=ADMIN, metavar="URL", help=f"the daemon's admin port (default: {ADMIN})")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """See :class:`audiohookd.cli.main.Command`."""
    if arguments.recent is None:
        return from_file.explain_file(arguments)
    if arguments.file != "-" or arguments.secret_file or arguments.keys:
        raise UsageError("explain-signature: --recent asks the daemon: leave out FILE, --secret-file and --keys")
    if arguments.authority or arguments.target or arguments.at is not None:
        raise UsageError("explain-signature: --recent asks the daemon: leave out --authority, --target and --at")
    for name in ("host", "path"):
        if len(getattr(arguments, name)) > HINTS_TAKEN:
            raise UsageError(f"explain-signature: --recent accepts --{name} at most {HINTS_TAKEN} times")
    return from_daemon.explain(arguments)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError("from 1 to 1000")
    return int(text)
