"""Explains a request that the user has, with the secret or key file that the user gives."""

import argparse
import sys
import time
from pathlib import Path

from audiohookd.auth.keys.model import Key
from audiohookd.auth.request import UpgradeRequest
from audiohookd.cli import credentials
from audiohookd.cli.explain.request_parser import ParsedRequest, parse_request
from audiohookd.cli.usage_error import UsageError
from audiohookd.diagnostics.explain import diagnose
from audiohookd.diagnostics.hypotheses import Hints, pairs
from audiohookd.escaping import printable
from audiohookd.text_encoding import decode_text

_MAX_SIZE = 8 << 20

_NOT_BASE64 = (
    "the secret is not base64, so it is not a client secret of Genesys Cloud; its text was used as the secret"
)
_NO_TIME = "the file has no date, so the request is checked as if it arrived now: give --at if it did not"


def explain_file(arguments: argparse.Namespace) -> int:
    """Prints the diagnosis of the request in ``arguments.file``, and returns the exit code.

    :raises UsageError: the file holds no request, or there is no secret to verify it with.
    """
    found = parse_request(read_text(arguments.file))
    target = arguments.target or found.target
    if not target:
        raise UsageError("explain-signature: no request line found: put GET /path HTTP/1.1 first, or give --target")
    request = UpgradeRequest(target, found.headers, arguments.authority)
    at, remarks = _time(arguments, found)
    known, keys, remark = _known(arguments, request, at)
    hints = Hints(tuple(arguments.host), tuple(arguments.path), keys)
    diagnosis = diagnose(request, None if known is None else known.secrets_at(at), at, hints, key=known)
    for line in (*diagnosis.lines(), *(f"note: {text}" for text in (*remark, *remarks))):
        print(printable(line))
    return 0 if diagnosis.verdict is None else 1


def read_text(name: str) -> str:
    """Reads a file, or standard input for ``-``: at most 8 MiB.

    :raises UsageError: the file cannot be read.
    """
    try:
        if name == "-":
            return decode_text(sys.stdin.buffer.read(_MAX_SIZE), "replace")
        with Path(name).open("rb") as file:
            return decode_text(file.read(_MAX_SIZE), "replace")
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from None


def _time(arguments: argparse.Namespace, found: ParsedRequest) -> tuple[float, tuple[str, ...]]:
    if arguments.at is not None:
        return arguments.at, ()
    return (time.time(), (_NO_TIME,)) if found.at is None else (found.at, ())


def _known(
    arguments: argparse.Namespace, request: UpgradeRequest, at: float
) -> tuple[Key | None, list[tuple[str, bytes]], tuple[str, ...]]:
    """Returns the request's key (None if unknown), the name and secret of all keys, and notes for the user."""
    if arguments.keys is not None:
        keys = credentials.keys_of(arguments.keys)
        return keys.lookup(request.header("x-api-key") or ""), list(pairs(keys, at)), ()
    secret = credentials.given_secret(arguments)
    if secret is None:
        raise UsageError("explain-signature: no secret to verify with: give --secret-file or --keys")
    return Key((secret.value,)), [], () if secret.is_base64 else (_NOT_BASE64,)
