"""``audiohookctl call``: calls an AudioHook server as Genesys Cloud does, once or many times.

START READING in :mod:`~audiohookd.cli.call.load`. Nothing here imports numpy and its like until the command runs.
"""

import argparse
import importlib
import time
from typing import Any

from audiohookd.cli.call.options import describe, read
from audiohookd.cli.usage_error import UsageError

#: Modules that only the extra ``call`` brings. OpenSSL and service_identity are for wss://.
EXTRA = frozenset({"numpy", "soundfile", "soxr", "hdrh", "OpenSSL", "service_identity"})


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """See :class:`audiohookd.cli.main.Command`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "call",
        help="call an AudioHook server as Genesys Cloud does",
        description="Calls an AudioHook server as Genesys Cloud does, once or many times. Results of the server go"
        " to stdout, one JSON object a line; all else goes to stderr. The exit code is 0 when every session was"
        " closed by the server and nothing went wrong, else 1; 2 for a mistake in the command. Ctrl-C, SIGTERM and"
        " SIGHUP begin no more calls, send close in each, and wait for closed, 10 s at most; the exit code is that of"
        " the calls that had begun. A second one ends at once.",
    )
    describe(parser)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """See :class:`audiohookd.cli.main.Command`."""
    options = read(arguments, time.time())
    try:
        execution = importlib.import_module("audiohookd.cli.call.execution")
        code: int = execution.execute(options)
    except ImportError as missing:
        if (missing.name or "").partition(".")[0] not in EXTRA:
            raise
        remedy = 'pip install -r requirements-call.lock (in the clone), or "audiohookd[call]"'
        raise UsageError(f"call: {missing.name} is missing: {remedy}") from None
    return code
