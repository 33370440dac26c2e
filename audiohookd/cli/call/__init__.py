"""``audiohookctl call``: calls an AudioHook server as Genesys Cloud does, once or many times.

START READING in :mod:`~audiohookd.cli.call.execution`. It imports large modules, such as numpy, only for a call.
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
        description="Calls an AudioHook server as Genesys Cloud does, once or many times. Writes the server's events"
        " to stdout, one JSON object per line, and everything else to stderr. The exit code is 0 if the server closed"
        " every session and no call failed, else 1. It is 2 for a mistake in the command. On Ctrl-C, SIGTERM or"
        " SIGHUP the command starts no more calls, sends close in each call, and waits at most 10 s for closed. The"
        " exit code then covers the calls that had started. A second signal ends the command at once.",
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
