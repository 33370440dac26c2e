"""The target of a client: a ws:// or wss:// URL, and the identifiers that its request carries."""

import argparse
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from audiohookd.protocol.messages import UUID_PATTERN


@dataclass(frozen=True)
class Target:
    """Where to call: the parts of a ws:// or wss:// URL."""

    is_secure: bool
    host: str
    port: int
    resource: str  # path and query as they were written, undecoded: signatures cover them
    connect: tuple[str, int] | None = None  # host and port to connect to, if not those of the URL

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to connect to."""
        return self.connect or (self.host, self.port)


def target(text: str) -> Target:
    """A URL, for argparse.

    :raises ArgumentTypeError: it is none that can be called.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as fault:
        raise invalid(str(fault)) from None
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise invalid("not a URL as ws://host:port/path or wss://host/path")
    if parts.username is not None or parts.fragment or not (text.isascii() and text.isprintable()) or " " in text:
        raise invalid("no user, no fragment, and only printable ASCII in a URL")
    is_secure = parts.scheme == "wss"
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(is_secure, parts.hostname, port or (443 if is_secure else 80), resource)


def uuid(text: str) -> str:
    """A UUID, for argparse.

    :raises ArgumentTypeError: it is none.
    """
    if not re.match(UUID_PATTERN, text):
        raise invalid("a UUID")
    return text


def invalid(text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(text)


def describe_connect(parser: argparse.ArgumentParser) -> None:
    """Adds ``--connect`` to a parser."""
    where = "connect there, whatever the name leads to; Host, TLS and signature stay those of the URL"
    parser.add_argument("--connect", type=_address, metavar="HOST:PORT", help=where)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise invalid("as HOST:PORT")
    return host.strip("[]"), int(port)
