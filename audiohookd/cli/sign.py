"""``audiohookctl sign``: prints the headers of an upgrade request, signed as Genesys Cloud signs them."""

import argparse
import shlex
import time
from collections.abc import Mapping
from typing import Any

from audiohookd.auth.signature.message_signature import MAX_AGE
from audiohookd.cli import credentials
from audiohookd.cli.target import Target, target, uuid
from audiohookd.cli.upgrade import LIFETIME, Identity, Signing, headers_of, upgrade_headers
from audiohookd.cli.usage_error import UsageError


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """See :class:`audiohookd.cli.main.Command`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "sign",
        help="sign an upgrade request as Genesys Cloud does",
        description="Prints the headers of an upgrade request, signed as Genesys Cloud signs them. With --curl, it"
        f" prints a curl command that sends the request. The signature is valid for {MAX_AGE} s and for one request.",
    )
    add = parser.add_argument
    add("url", metavar="URL", type=target, help="wss://host/path, as entered in Genesys Cloud")
    credentials.describe(parser)
    add("--session", type=uuid, metavar="UUID", help="Audiohook-Session-Id (default: a random one)")
    add("--organization", type=uuid, metavar="UUID", help="Audiohook-Organization-Id (default: a random one)")
    add("--correlation", type=uuid, metavar="UUID", help="Audiohook-Correlation-Id (default: a random one)")
    add("--created", type=int, metavar="T", help="creation time of the signature, UNIX seconds (default: now)")
    add(
        "--expires",
        type=int,
        metavar="N",
        default=LIFETIME,
        help=f"seconds from creation to expiry of the signature (default: {LIFETIME})",
    )
    add("--nonce", metavar="TEXT", help="at least 22 characters (default: a random one)")
    add("--curl", action="store_true", help="print a curl command, quoted for the shell")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """See :class:`audiohookd.cli.main.Command`."""
    now = int(time.time())
    secret = credentials.secret_of(arguments, arguments.key, now)
    if not secret:
        raise UsageError(f"sign: {_no_secret(arguments)}")
    named = {name: getattr(arguments, name) for name in ("session", "organization", "correlation")}
    identity = Identity(**{name: value for name, value in named.items() if value is not None})
    created = now if arguments.created is None else arguments.created
    nonce = {} if arguments.nonce is None else {"nonce": arguments.nonce}
    signing = Signing(created, arguments.expires, **nonce)
    try:
        headers = headers_of(arguments.url, arguments.key, secret, identity, signing)
    except ValueError:
        raise UsageError("sign: --nonce must be printable ASCII") from None
    print(curl(arguments.url, headers) if arguments.curl else "\n".join(f"{n}: {v}" for n, v in headers.items()))
    return 0


def _no_secret(arguments: argparse.Namespace) -> str:
    if arguments.keys is None:
        return "there is no secret to sign with: give --secret-file or --keys"
    return f"{arguments.keys}: the key has no secret, so its requests are unsigned: there is nothing to sign"


def curl(url: Target, headers: Mapping[str, str]) -> str:
    """A curl command that requests the upgrade, prints the response, and ends after 5 s."""
    scheme = "https" if url.is_secure else "http"
    words = ["curl", "--include", "--no-buffer", "--http1.1", "--globoff", "--path-as-is", "--max-time", "5"]
    for name, value in {**headers, **upgrade_headers()}.items():
        words += ["--header", f"{name}: {value}"]
    return shlex.join([*words, f"{scheme}://{headers['Host']}{url.resource}"])
