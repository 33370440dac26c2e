"""API key and client secret of a command: how they are given, and read. None of it is ever printed."""

import argparse
import base64
import binascii
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from audiohookd.auth.keys.model import Keys
from audiohookd.auth.keys.sources.file import KeyFile
from audiohookd.cli.usage_error import UsageError
from audiohookd.text_encoding import decode_text

SECRET_VARIABLE = "AUDIOHOOK_CLIENT_SECRET"  # noqa: S105 - its name, not its value

_API_KEY = re.compile(r"[a-zA-Z0-9+/_-]+={0,2}")
#: Bytes of a file with secrets that are read.
_MAX_FILE = 1 << 20


class Secret(NamedTuple):
    """A client secret; not base64 if ``is_base64`` is not set: then ``value`` is its text, which some sign with."""

    value: bytes
    is_base64: bool = True

    def __repr__(self) -> str:
        return "<Secret>"


def describe(parser: argparse.ArgumentParser, key_is_needed: bool = True) -> Any:
    """Adds the options to a parser. Returns the group of those for the secret, of which one may be given."""
    if key_is_needed:
        key = ("--key", "--api-key")
        parser.add_argument(*key, required=True, type=api_key, metavar="KEY", help="the API key, X-API-KEY")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--secret-file",
        type=Path,
        metavar="FILE",
        help=f"holds the client secret in base64, on a line; or set ${SECRET_VARIABLE}",
    )
    source.add_argument("--keys", type=Path, metavar="FILE", help="a key file, as [auth] keys_file")
    return source


def describe_ca(parser: argparse.ArgumentParser) -> None:
    """Adds ``--ca`` to a parser."""
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="authorities to trust in addition to the system's (PEM)"
    )


def api_key(text: str) -> str:
    """An API key as Genesys Cloud accepts it, for argparse.

    :raises ArgumentTypeError: it is none.
    """
    key = decode_text(text)
    if not _API_KEY.fullmatch(key):
        raise argparse.ArgumentTypeError("letters, digits, + / _ - and up to two = at the end")
    return key


def secret_of(
    arguments: argparse.Namespace, key: str, now: float, environment: Mapping[str, str] = os.environ
) -> bytes:
    """The secret that belongs to ``key``, empty where requests are not signed.

    :raises Mistake: there is none, or it cannot be used.
    """
    if arguments.keys is not None:
        known = keys_of(arguments.keys).lookup(key)
        if known is None:
            raise UsageError(f"{arguments.keys}: the key is not in it")
        return known.secrets_at(now)[0]
    secret = given_secret(arguments, environment)
    return b"" if secret is None else decoded(secret)


def decoded(secret: Secret) -> bytes:
    """What to sign with.

    :raises Mistake: it is not base64. Without the text: that may be nearly the secret.
    """
    if not secret.is_base64:
        raise UsageError("the client secret is not base64: copy it anew from the integration")
    return secret.value


def given_secret(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Secret | None:
    """The one of ``--secret-file`` or the environment; None for neither.

    :raises Mistake: the file cannot be read, or there is nothing in it.
    """
    if arguments.secret_file is None:
        text = environment.get(SECRET_VARIABLE, "")
        return secret_in(text) if text else None
    text = _read(arguments.secret_file).strip()
    if len(text.splitlines()) != 1:
        raise UsageError(f"{arguments.secret_file}: must hold the client secret, on one line, and nothing else")
    if len(text.split()) > 1:
        raise UsageError(f"{arguments.secret_file}: the client secret is not base64: there is a blank in it")
    return secret_in(text)


def secret_in(text: str) -> Secret:
    """What a text stands for."""
    text = decode_text(text)
    try:
        # Genesys Cloud lets people leave out the padding.
        return Secret(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except (binascii.Error, ValueError):
        return Secret(text.encode("utf-8", "surrogateescape"), is_base64=False)


def keys_of(path: Path) -> Keys:
    """The keys of a key file.

    :raises Mistake: it cannot be used.
    """
    try:
        return KeyFile("--keys", path).load()
    except ValueError as fault:
        raise UsageError(str(fault)) from None


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return decode_text(file.read(_MAX_FILE), "surrogateescape")
    except OSError as fault:
        raise UsageError(f"{path}: {fault.strerror}") from None
    except UnicodeDecodeError as fault:
        raise UsageError(f"{path}: {fault}") from None
