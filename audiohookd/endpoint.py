"""Checks endpoints in Twisted's notation before a port opens, and reports a mistake in one line."""

import itertools
import re
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from audiohookd.config.errors import ConfigError
from audiohookd.runtime.error_text import in_words

#: Shown in every error.
EXAMPLE = "tcp:3000:interface=127.0.0.1"
#: The types that an error lists. Packages may add others to Twisted.
TYPES = ("tcp", "tcp6", "unix", "systemd")
#: The values of ``domain=`` in a systemd endpoint.
DOMAINS: Mapping[str, int] = {"INET": socket.AF_INET, "INET6": socket.AF_INET6, "UNIX": socket.AF_UNIX}
LAST_PORT = 65_535

#: A separator: a colon without a backslash. Addresses escape theirs: ``tcp6:3000:interface=\\:\\:1``.
_between = re.compile(r"(?<!\\):")


class _Parts(Struct, frozen=True):
    """The parts of a description: ``kind:argument:name=value``."""

    kind: str
    arguments: Sequence[str]
    options: Mapping[str, str]


def endpoint_of(reactor: Any, description: str, where: str, shown: str | None = None) -> IStreamServerEndpoint:
    """Returns the endpoint that ``description`` names.

    :param where: file and key, for the error text.
    :param shown: the description in the error text, if it differs from ``description``.
    :raises ConfigError: the description is invalid, or names a socket that systemd did not pass.
    """
    parts = _parts(re.sub("^haproxy:", "", description, flags=re.IGNORECASE))
    head = f"{where}: {(description if shown is None else shown)!r}"
    mistake = _mistake(parts, reactor)
    if mistake is not None:
        raise ConfigError(f"{head}: {mistake}")
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
    except Exception as error:
        # Twisted's parsers raise ValueError, TypeError, IndexError or KeyError for a bad description.
        reason = f"unknown type {parts.kind!r}" if "Unknown endpoint type" in str(error) else in_words(error)
        text = f"{reason}; it must be like {EXAMPLE!r}, its type one of {', '.join(TYPES)}"
        raise ConfigError(f"{head}: {text}") from error
    return endpoint


def _parts(description: str) -> _Parts:
    kind, *rest = (part.replace("\\:", ":") for part in _between.split(description))
    options = dict(part.split("=", 1) for part in rest if "=" in part)
    return _Parts(kind, [part for part in rest if "=" not in part], options)


def _mistake(parts: _Parts, reactor: Any) -> str | None:
    if parts.kind in ("tcp", "tcp6"):
        return _tcp_mistake(parts)
    if parts.kind == "systemd":
        return _systemd_mistake(parts.options, reactor)
    return None


def _tcp_mistake(parts: _Parts) -> str | None:
    port = parts.options.get("port") or next(iter(parts.arguments), "")
    if not re.fullmatch(r"[0-9]{1,9}", port) or int(port) > LAST_PORT:
        return f"the port must be a number from 0 to {LAST_PORT}, not {port!r}; for example {EXAMPLE!r}"
    if "" in parts.arguments and "interface" in parts.options:
        return r"colons in an address need a backslash, in single quotes: 'tcp6:3000:interface=\:\:1'"
    return None


def _systemd_mistake(options: Mapping[str, str], reactor: Any) -> str | None:
    if options.get("domain") not in DOMAINS:
        return "domain must be INET, INET6 or UNIX; for example 'systemd:domain=INET:index=0'"
    if ("index" in options) == ("name" in options):
        return "needs either index or name of the socket; for example 'systemd:domain=INET:index=0'"
    count = next(number for number in itertools.count() if _passed(reactor, f"index={number}") is None)
    if not count:
        # Twisted ignores sockets without names.
        command = "systemd-socket-activate -l ADDRESS --fdname=NAME"
        remedy = f"start the daemon by a .socket unit (or {command}), or listen on {EXAMPLE!r}"
        return f"systemd passed no socket: {remedy}"
    file = _passed(reactor, ":".join(f"{key}={options[key]}" for key in ("index", "name") if key in options))
    if file is not None and not options.get("index", "").startswith("-"):
        return _family_mistake(file, options["domain"])
    if "name" in options:
        return f"systemd passed no socket named {options['name']!r}: see FileDescriptorName= of the .socket unit"
    return f"index must be a number from 0 to {count - 1}, not {options['index']!r}: systemd passed {count}"


def _passed(reactor: Any, which: str) -> int | None:
    """Returns the file descriptor of a socket that systemd passed.

    Only Twisted knows it: Twisted removes the environment variables of systemd when it reads them.
    """
    try:
        endpoint = serverFromString(reactor, f"systemd:domain=INET:{which}")
    except (LookupError, ValueError):
        return None
    return int(endpoint.fileno)


def _family_mistake(file: int, domain: str) -> str | None:
    """Checks that the socket is a stream of the family that ``domain`` names.

    Twisted does not check this, and every connection to a socket of another family fails.
    """
    try:
        with socket.fromfd(file, socket.AF_UNSPEC, 0) as passed:
            family, kind = (
                passed.getsockopt(socket.SOL_SOCKET, option) for option in (socket.SO_DOMAIN, socket.SO_TYPE)
            )
    except OSError as error:
        return f"file descriptor {file}, which systemd passed, is not a socket ({error.strerror})"
    if kind != socket.SOCK_STREAM:
        return "the socket that systemd passed is not a stream: its unit needs ListenStream="
    if family != DOMAINS[domain]:
        actual = next((name for name, number in DOMAINS.items() if number == family), f"family {family}")
        return f"the socket that systemd passed is {actual}: write domain={actual}"
    return None
