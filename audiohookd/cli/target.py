"""The server of a client command: its URL, and the options of the connection."""

import argparse
import re
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from audiohookd.protocol.messages import UUID_PATTERN


@dataclass(frozen=True)
class Target:
    """The parts of a ws:// or wss:// URL."""

    is_secure: bool
    host: str
    port: int
    resource: str  # path and query, undecoded: signatures cover them as written
    connect: tuple[str, int] | None = None  # host and port of --connect; None: as in the URL

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to connect to."""
        return self.connect or (self.host, self.port)

    @property
    def authority(self) -> str:
        """The ``Host`` header. It omits the default port of the scheme."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_secure else 80) else f"{host}:{self.port}"


def target(text: str) -> Target:
    """Parses a URL, for argparse.

    :raises ArgumentTypeError: the text is not a ws:// or wss:// URL that a client can connect to.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise invalid(str(error)) from None
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        raise invalid("not a URL such as ws://host:port/path or wss://host/path")
    if parts.username is not None or parts.fragment or not (text.isascii() and text.isprintable()) or " " in text:
        raise invalid("the URL must have no user and no fragment, and only printable ASCII")
    is_secure = parts.scheme == "wss"
    resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(is_secure, parts.hostname, port or (443 if is_secure else 80), resource)


def uuid(text: str) -> str:
    """Parses a UUID, for argparse.

    :raises ArgumentTypeError: the text is not a UUID.
    """
    if not re.match(UUID_PATTERN, text):
        raise invalid("not a UUID")
    return text


def invalid(text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(text)


def describe_connection(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a command that connects to a server."""
    add = parser.add_argument
    add("--ca", type=Path, metavar="FILE", help="authorities to trust in addition to the system's (PEM)")
    text = "connect to this address; Host, TLS and signature still use the host of the URL"
    add("--connect", type=_address, metavar="HOST:PORT", help=text)
    add("--connector", action="store_true", help="be an Audio Connector (bots), which plays audio of the server")
    add("--organization", type=uuid, metavar="UUID", help="organization id (default: a random one)")


def target_of(arguments: argparse.Namespace) -> Target:
    """The URL of the arguments, with the address of ``--connect``."""
    url: Target = arguments.url
    return replace(url, connect=arguments.connect)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise invalid("not HOST:PORT")
    return host.strip("[]"), int(port)
