"""Endpoints in Twisted's notation, checked before a port opens: a mistake becomes one line in words."""

import re
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.python.systemd import ListenFDs

from audiohookd.config import ConfigError

#: Shown with every mistake.
EXAMPLE = "tcp:3000:interface=127.0.0.1"
#: The types to choose from. Packages may add others to Twisted.
TYPES = ("tcp", "tcp6", "unix", "systemd")
#: What ``domain=`` of a systemd endpoint may be.
DOMAINS: Mapping[str, int] = {"INET": socket.AF_INET, "INET6": socket.AF_INET6, "UNIX": socket.AF_UNIX}
LAST_PORT = 65_535

#: Not a colon that belongs to an address: ``tcp6:3000:interface=\\:\\:1``.
_between = re.compile(r"(?<!\\):")


class _Parts(Struct, frozen=True):
    """A description: ``kind:argument:name=value``."""

    kind: str
    arguments: Sequence[str]
    options: Mapping[str, str]


def endpoint_of(
    reactor: Any, description: str, where: str, environment: Mapping[str, str], shown: str | None = None
) -> IStreamServerEndpoint:
    """The endpoint that ``description`` names.

    :param shown: the description for the message, where it is longer.
    :param where: file and key, for the message.
    :param environment: of the process; systemd passes sockets by it.
    :raises ConfigError: it names none, or a socket that systemd did not pass.
    """
    parts = _parts(re.sub("^haproxy:", "", description, flags=re.IGNORECASE))
    head = f"{where}: {(description if shown is None else shown)!r}"
    mistake = _mistake(parts, environment)
    if mistake is not None:
        raise ConfigError(f"{head}: {mistake}")
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
    except Exception as fault:
        # Twisted's parsers raise whatever they stumble over: ValueError, TypeError, IndexError, KeyError.
        reason = f"unknown type {parts.kind!r}" if "Unknown endpoint type" in str(fault) else _said(fault)
        text = f"{reason}; it must be like {EXAMPLE!r}, its type one of {', '.join(TYPES)}"
        raise ConfigError(f"{head}: {text}") from fault
    return endpoint


def _parts(description: str) -> _Parts:
    kind, *rest = (part.replace("\\:", ":") for part in _between.split(description))
    options = dict(part.split("=", 1) for part in rest if "=" in part)
    return _Parts(kind, [part for part in rest if "=" not in part], options)


def _mistake(parts: _Parts, environment: Mapping[str, str]) -> str | None:
    if parts.kind in ("tcp", "tcp6"):
        return _tcp_mistake(parts)
    if parts.kind == "systemd":
        return _systemd_mistake(parts.options, environment)
    return None


def _tcp_mistake(parts: _Parts) -> str | None:
    port = parts.options.get("port") or next(iter(parts.arguments), "")
    if not re.fullmatch(r"[0-9]{1,9}", port) or int(port) > LAST_PORT:
        return f"the port must be a number from 0 to {LAST_PORT}, not {port!r}; for example {EXAMPLE!r}"
    if "" in parts.arguments and "interface" in parts.options:
        return r"colons in an address need a backslash, in single quotes: 'tcp6:3000:interface=\:\:1'"
    return None


def _systemd_mistake(options: Mapping[str, str], environment: Mapping[str, str]) -> str | None:
    if options.get("domain") not in DOMAINS:
        return "domain must be INET, INET6 or UNIX; for example 'systemd:domain=INET:index=0'"
    if ("index" in options) == ("name" in options):
        return "needs either index or name of the socket; for example 'systemd:domain=INET:index=0'"
    passed = ListenFDs.fromEnvironment(environment)
    files, named = passed.inheritedDescriptors(), passed.inheritedNamedDescriptors()
    if not files:
        return f"systemd passed no socket: start it with a .socket unit, or listen on one like {EXAMPLE!r}"
    names = ", ".join(named)
    if (name := options.get("name")) is not None:
        known = f"systemd passed no socket named {name!r}; there are: {names}"
        return _family_mistake(named[name], options["domain"]) if name in named else known
    index = options["index"]
    if not re.fullmatch(r"[0-9]{1,9}", index) or int(index) >= len(files):
        possible = f"a number from 0 to {len(files) - 1}, not {index!r}"
        return f"index must be {possible}: systemd passed {len(files)} ({names})"
    return _family_mistake(files[int(index)], options["domain"])


def _family_mistake(file: int, domain: str) -> str | None:
    """Twisted believes ``domain``, and each connection to a socket of another family fails."""
    try:
        with socket.fromfd(file, socket.AF_UNSPEC, 0) as passed:
            family, kind = (passed.getsockopt(socket.SOL_SOCKET, what) for what in (socket.SO_DOMAIN, socket.SO_TYPE))
    except OSError as fault:
        return f"what systemd passed as file {file} is no socket ({fault.strerror})"
    if kind != socket.SOCK_STREAM:
        return "the socket that systemd passed is not a stream: its unit needs ListenStream="
    if family != DOMAINS[domain]:
        actual = next((name for name, number in DOMAINS.items() if number == family), f"family {family}")
        return f"the socket that systemd passed is {actual}: write domain={actual}"
    return None


def _said(fault: Exception) -> str:
    return f"{type(fault).__name__}: {fault}"
