"""``audiohookctl doctor``: runs Genesys Cloud's connection probe against the public address, step by step.

START READING in :mod:`~audiohookd.cli.doctor.checks`. Uses blocking sockets: the steps run one after the other.
"""

import argparse
import time
from typing import Any

from audiohookd.cli import credentials
from audiohookd.cli.doctor.checks import DoctorTarget, run_checks
from audiohookd.cli.doctor.tls import trusting
from audiohookd.cli.target import describe_connection, target, target_of
from audiohookd.cli.upgrade import Identity


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """See :class:`audiohookd.cli.main.Command`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "doctor",
        help="check whether Genesys Cloud could activate an integration",
        description="Runs Genesys Cloud's connection probe against the public address, step by step, in at most 20 s:"
        " DNS, TCP, TLS, the upgrade, opened, closed. Run it from outside your own network if you can. The exit code"
        " is 0 if Genesys Cloud would activate the integration, else 1. It is also 1 if the certificate is trusted"
        " only with --ca. It is 2 for a mistake in the command.",
    )
    add = parser.add_argument
    add("url", metavar="URL", type=target, help="wss://host/path, as entered in Genesys Cloud")
    credentials.describe(parser)
    describe_connection(parser)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """See :class:`audiohookd.cli.main.Command`."""
    secret = credentials.secret_of(arguments, arguments.key, time.time())
    identity = Identity() if arguments.organization is None else Identity(organization=arguments.organization)
    context = trusting(arguments.ca)
    checked = DoctorTarget(
        target_of(arguments), arguments.key, secret, identity, context, arguments.ca is not None, arguments.connector
    )
    return run_checks(checked, lambda line: print(line, flush=True), time.monotonic, time.time)
