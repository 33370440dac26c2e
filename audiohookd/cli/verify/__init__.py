"""``audiohookctl verify``: checks recordings against their sidecars, on disk or in a bucket.

START READING in :mod:`~audiohookd.cli.verify.checking`, whose :func:`check` knows what a recording should be.
"""

import argparse
import importlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from audiohookd.cli.progress import Progress
from audiohookd.cli.usage_error import UsageError
from audiohookd.cli.verify.checking import check
from audiohookd.cli.verify.files import find
from audiohookd.cli.verify.report import Report
from audiohookd.cli.verify.verdict import Item, verify

__all__ = ["add_parser", "check", "run"]

_S3 = "s3://"


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """See :class:`audiohookd.cli.main.Command`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "verify",
        help="check recordings against their sidecars",
        description="Checks recordings against their sidecars: that the audio is there, its size and SHA-256, its WAV"
        " header, its length, and the gaps. The exit code is 0 when all is well, else 1.",
    )
    add = parser.add_argument
    add("targets", metavar="TARGET", nargs="+", help="a .wav or .json, a directory, or s3://bucket/prefix")
    add("--quick", action="store_true", help="do not read the audio: sizes, headers, and what the store knows")
    add("--quiet", "-q", action="store_true", help="only what is wrong")
    add("--json", action="store_true", help="one JSON object a line, the sum last")
    bucket = parser.add_argument_group("for s3://, where the AWS environment does not say it")
    bucket.add_argument("--endpoint-url", metavar="URL", help="of a store that is not AWS")
    bucket.add_argument("--region", metavar="NAME")
    bucket.add_argument("--profile", metavar="NAME", help="of the AWS configuration")
    bucket.add_argument("--path-style", action="store_true", help="the bucket in the path, not in the host name")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """See :class:`audiohookd.cli.main.Command`."""
    with Progress("verified") as progress, ExitStack() as open_clients:
        report = Report(progress.say, arguments.json, arguments.quiet)
        for target in arguments.targets:
            is_empty = True
            for item in _items(target, arguments, open_clients):
                report.add(verify(item, arguments.quick, progress))
                progress.done()
                is_empty = False
            if is_empty and target.startswith(_S3):  # a directory may well be empty; a prefix is mistyped
                raise UsageError(f"verify: {target}: there is nothing of that name")
        report.sum_up(progress.bytes)
    return 1 if report.wrong else 0


def _items(target: str, arguments: argparse.Namespace, open_clients: ExitStack) -> Iterator[Item]:
    if target.startswith(_S3):
        # Not at the top: boto3 takes longer to import than most directories take to check.
        bucket = importlib.import_module("audiohookd.cli.verify.bucket")
        store = bucket.Store(arguments.endpoint_url, arguments.region, arguments.profile, arguments.path_style)
        yield from bucket.find(open_clients.enter_context(store.client()), target)
        return
    try:
        yield from find(Path(target))
    except OSError as fault:
        raise UsageError(f"verify: {fault.filename or target}: {fault.strerror}") from None
