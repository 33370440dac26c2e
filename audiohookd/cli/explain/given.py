"""A request that the user has, explained with the secret that the user has."""

import argparse
import sys
import time
from pathlib import Path

from audiohookd.auth.diagnosis import diagnose
from audiohookd.auth.keys import Key
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.suspects import Hints, pairs
from audiohookd.cli import credentials
from audiohookd.cli.explain.reading import Read, read
from audiohookd.cli.mistake import Mistake
from audiohookd.escaping import printable
from audiohookd.text_encoding import decode_text

_MAX_SIZE = 8 << 20

_NOT_BASE64 = (
    "the secret that you gave is not base64, so it is no client secret of Genesys Cloud; its text was taken for the"
    " secret"
)
_NO_TIME = "the time is judged as if the request came now: give --at if it did not"


def explain(arguments: argparse.Namespace) -> int:
    """Prints the diagnosis of ``arguments.file``; returns the exit code.

    :raises Mistake: there is no request in it, or no secret to verify it with.
    """
    found = read(read_text(arguments.file))
    target = arguments.target or found.target
    if not target:
        raise Mistake("explain-signature: there is no request line: put GET /path HTTP/1.1 first, or give --target")
    request = UpgradeRequest(target, found.headers, arguments.authority)
    at, remarks = _time(arguments, found)
    known, keys, remark = _known(arguments, request, at)
    hints = Hints(tuple(arguments.host), tuple(arguments.path), keys)
    diagnosis = diagnose(request, None if known is None else known.secrets_at(at), at, hints, key=known)
    for line in (*diagnosis.lines(), *(f"note: {text}" for text in (*remark, *remarks))):
        print(printable(line))
    return 0 if diagnosis.verdict is None else 1


def read_text(name: str) -> str:
    """The text of a file, or of standard input for ``-``.

    :raises Mistake: it cannot be read.
    """
    try:
        if name == "-":
            return decode_text(sys.stdin.buffer.read(_MAX_SIZE), "replace")
        with Path(name).open("rb") as file:
            return decode_text(file.read(_MAX_SIZE), "replace")
    except OSError as fault:
        raise Mistake(f"{name}: {fault.strerror}") from None


def _time(arguments: argparse.Namespace, found: Read) -> tuple[float, tuple[str, ...]]:
    if arguments.at is not None:
        return arguments.at, ()
    return (time.time(), (_NO_TIME,)) if found.at is None else (found.at, ())


def _known(
    arguments: argparse.Namespace, request: UpgradeRequest, at: float
) -> tuple[Key | None, list[tuple[str, bytes]], tuple[str, ...]]:
    """What is known of the request's key, the secrets of all keys, and what there is to say about them."""
    if arguments.keys is not None:
        keys = credentials.keys_of(arguments.keys)
        return keys.lookup(request.header("x-api-key") or ""), list(pairs(keys, at)), ()
    secret = credentials.given_secret(arguments)
    if secret is None:
        raise Mistake("explain-signature: give the secret (--secret-file) or all keys (--keys) to verify it with")
    return Key((secret.value,)), [], () if secret.is_base64 else (_NOT_BASE64,)
