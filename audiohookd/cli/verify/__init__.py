"""``audiohookctl verify``: checks recordings against their sidecars, on disk or in a bucket.

START READING in :mod:`~audiohookd.cli.verify.checking`: :func:`check` compares a recording with its sidecar.
"""

import argparse
import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from audiohookd.cli.formatting import counted, size
from audiohookd.cli.progress import Progress
from audiohookd.cli.usage_error import UsageError
from audiohookd.cli.verify.checking import Item, Verdict, check, verify
from audiohookd.cli.verify.files import find
from audiohookd.escaping import printable

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
        place = arguments.endpoint_url, arguments.region, arguments.profile, arguments.path_style
        yield from bucket.find(open_clients.enter_context(bucket.open_client(*place)), target)
        return
    try:
        yield from find(Path(target))
    except OSError as error:
        raise UsageError(f"verify: {error.filename or target}: {error.strerror}") from None


class Report:
    """Counts recordings, and writes a line for each.

    :param write_line: writes a line to stdout.
    """

    def __init__(self, write_line: Callable[[str], None], is_json: bool, is_quiet: bool) -> None:
        self.checked = 0
        self.wrong = 0
        self._stored = self._moving = 0
        self._write_line = write_line
        self._is_json = is_json
        self._is_quiet = is_quiet

    def add(self, verdict: Verdict | None) -> None:
        """Counts a recording, and writes its line. None: the recording is being moved and was not checked."""
        if verdict is None:
            self._moving += 1
            return
        self.checked += 1
        self.wrong += bool(verdict.faults)
        self._stored += bool(verdict.note)
        if verdict.faults or not self._is_quiet:
            self._write_line(_object(verdict) if self._is_json else _line(verdict))

    def sum_up(self, read: int) -> None:
        """Writes the summary. ``read``: bytes of audio that were read."""
        ok = self.checked - self.wrong
        if self._is_json:
            figures = {"checked": self.checked, "ok": ok, "wrong": self.wrong, "elsewhere": self._stored}
            figures |= {"moving": self._moving, "bytes": read}
            self._write_line(json.dumps({"summary": figures}))
            return
        elsewhere = f", {self._stored:,} with the audio stored elsewhere" if self._stored else ""
        elsewhere += f", {self._moving:,} being moved and not checked" if self._moving else ""
        amount = f"; {size(read)} of audio read" if read else ""
        self._write_line(f"{counted(self.checked, 'recording')}: {ok:,} ok, {self.wrong:,} wrong{elsewhere}{amount}")


def _line(verdict: Verdict) -> str:
    result = "; ".join(verdict.faults) or "ok"
    return printable(f"{verdict.where}: {result}{f' ({verdict.note})' if verdict.note else ''}")


def _object(verdict: Verdict) -> str:
    line: dict[str, Any] = {"recording": verdict.where, "id": verdict.id, "ok": not verdict.faults}
    line["faults"] = verdict.faults
    return json.dumps(line | ({"note": verdict.note} if verdict.note else {}))
