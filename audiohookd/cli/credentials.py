"""Options for the API key and the client secret, and how both are read. Neither is ever printed."""

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
#: Bytes that are read of a secret file.
_MAX_FILE = 1 << 20


class Secret(NamedTuple):
    """A client secret, decoded from base64.

    Without ``is_base64`` the text was not base64, and ``value`` is the text itself: some clients sign with it.
    """

    value: bytes
    is_base64: bool = True

    def __repr__(self) -> str:
        return "<Secret>"


def describe(parser: argparse.ArgumentParser, key_is_needed: bool = True) -> Any:
    """Adds the options to a parser. Returns the mutually exclusive group of the options for the secret."""
    if key_is_needed:
        key = ("--key", "--api-key")
        parser.add_argument(*key, required=True, type=api_key, metavar="KEY", help="the API key, X-API-KEY")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--secret-file",
        type=Path,
        metavar="FILE",
        help=f"a file with the client secret, one line of base64; or set ${SECRET_VARIABLE}",
    )
    source.add_argument("--keys", type=Path, metavar="FILE", help="a key file in the format of [auth] keys_file")
    return source


def api_key(text: str) -> str:
    """Parses an API key as Genesys Cloud accepts it, for argparse.

    :raises ArgumentTypeError: the text is not an API key.
    """
    key = decode_text(text)
    if not _API_KEY.fullmatch(key):
        raise argparse.ArgumentTypeError("letters, digits, + / _ - and up to two = at the end")
    return key


def secret_of(
    arguments: argparse.Namespace, key: str, now: float, environment: Mapping[str, str] = os.environ
) -> bytes:
    """The secret that belongs to ``key``. Empty if requests are not signed.

    :raises UsageError: the key file does not hold the key, or the secret cannot be used.
    """
    if arguments.keys is not None:
        known = keys_of(arguments.keys).lookup(key)
        if known is None:
            raise UsageError(f"{arguments.keys}: the file does not contain this API key")
        return known.secrets_at(now)[0]
    secret = given_secret(arguments, environment)
    return b"" if secret is None else decoded(secret)


def decoded(secret: Secret) -> bytes:
    """The bytes to sign with.

    :raises UsageError: the secret is not base64. The error does not quote it: the text may be almost the real secret.
    """
    if not secret.is_base64:
        raise UsageError("the client secret is not base64: copy it again from the integration")
    return secret.value


def given_secret(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> Secret | None:
    """The secret from ``--secret-file`` or the environment. None if neither is set.

    :raises UsageError: the file cannot be read, or does not hold exactly one secret.
    """
    if arguments.secret_file is None:
        text = environment.get(SECRET_VARIABLE, "")
        return secret_in(text) if text else None
    text = _read(arguments.secret_file).strip()
    if len(text.splitlines()) != 1:
        raise UsageError(f"{arguments.secret_file}: must contain the client secret on one line, and nothing else")
    if len(text.split()) > 1:
        raise UsageError(f"{arguments.secret_file}: the client secret is not base64: it contains a space")
    return secret_in(text)


def secret_in(text: str) -> Secret:
    """The secret that a text encodes."""
    text = decode_text(text)
    try:
        # Genesys Cloud accepts a secret without padding.
        return Secret(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except (binascii.Error, ValueError):
        return Secret(text.encode("utf-8", "surrogateescape"), is_base64=False)


def keys_of(path: Path) -> Keys:
    """Loads the keys of a key file.

    :raises UsageError: the file cannot be read, or is invalid.
    """
    try:
        return KeyFile("--keys", path).load()
    except ValueError as error:
        raise UsageError(str(error)) from None


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return decode_text(file.read(_MAX_FILE), "surrogateescape")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: {error}") from None
