"""Tells from the description of an endpoint whether only this machine can reach it (pure)."""

import re
from contextlib import suppress
from ipaddress import ip_address

#: A separator: a colon without a backslash. Addresses escape theirs: ``tcp6:3000:interface=\\:\\:1``.
_between = re.compile(r"(?<!\\):")


def is_loopback_endpoint(endpoint: str) -> bool:
    """Whether only this machine can reach the endpoint: a Unix socket, or a loopback address.

    :param endpoint: in Twisted's notation. A ``haproxy:`` prefix is ignored. The address of a TCP socket that
        systemd passes is not known here, so such an endpoint is not loopback.
    """
    kind, *arguments = _between.split(re.sub("^haproxy:", "", endpoint, flags=re.IGNORECASE))
    if kind == "unix" or (kind == "systemd" and "domain=UNIX" in arguments):
        return True
    return any(_is_loopback(argument.removeprefix("interface=").replace("\\:", ":")) for argument in arguments)


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
