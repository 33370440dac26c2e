"""``audiohookctl verify``: checks recordings against their sidecars, on disk or in a bucket.

START READING in :mod:`~audiohookd.cli.verify.checking`: :func:`check` compares a recording with its sidecar.
"""

import argparse
import importlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from audiohookd.cli.progress import Progress
from audiohookd.cli.usage_error import UsageError
from audiohookd.cli.verify.checking import Item, check, verify
from audiohookd.cli.verify.files import find
from audiohookd.cli.verify.report import Report

__all__ = ["add_parser", "check", "run"]

_S3 = "s3://"


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """See :class:`audiohookd.cli.main.Command`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "verify",
        help="check recordings against their sidecars",
        description="Checks recordings against their sidecars: that the audio exists, its size and SHA-256, its WAV"
        " header, its length, and the gaps. The exit code is 0 if all recordings are correct, else 1.",
    )
    add = parser.add_argument
    add("targets", metavar="TARGET", nargs="+", help="a .wav or .json, a directory, or s3://bucket/prefix")
    add("--quick", action="store_true", help="do not read the audio: check sizes, headers and the store's checksums")
    add("--quiet", "-q", action="store_true", help="print only recordings with errors")
    add("--json", action="store_true", help="print one JSON object per line, the summary last")
    bucket = parser.add_argument_group("for s3://, unless the AWS environment sets it")
    bucket.add_argument("--endpoint-url", metavar="URL", help="URL of a store other than AWS")
    bucket.add_argument("--region", metavar="NAME", help="region of the bucket")
    bucket.add_argument("--profile", metavar="NAME", help="profile of the AWS configuration")
    bucket.add_argument("--path-style", action="store_true", help="put the bucket in the path, not in the host name")
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
            if is_empty and target.startswith(_S3):  # a directory may be empty, but a prefix without keys is a typo
                raise UsageError(f"verify: {target}: no recordings found at this prefix")
        report.sum_up(progress.bytes)
    return 1 if report.wrong else 0


def _items(target: str, arguments: argparse.Namespace, open_clients: ExitStack) -> Iterator[Item]:
    if target.startswith(_S3):
        # Imported here because importing boto3 takes longer than checking most directories.
        bucket = importlib.import_module("audiohookd.cli.verify.bucket")
        store = bucket.Store(arguments.endpoint_url, arguments.region, arguments.profile, arguments.path_style)
        yield from bucket.find(open_clients.enter_context(store.client()), target)
        return
    try:
        yield from find(Path(target))
    except OSError as error:
        raise UsageError(f"verify: {error.filename or target}: {error.strerror}") from None
