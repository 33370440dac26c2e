"""Who can reach an endpoint, as far as its description tells (pure)."""

import re
from contextlib import suppress
from ipaddress import ip_address

#: Not a colon that belongs to an address: ``tcp6:3000:interface=\\:\\:1``.
_between = re.compile(r"(?<!\\):")


def is_loopback_endpoint(endpoint: str) -> bool:
    """Whether nobody but this machine can get there: a socket of the file system, or an address of loopback.

    :param endpoint: in Twisted's notation. What the PROXY protocol tells of does not matter here, and of a socket
        that systemd has opened nothing is known.
    """
    kind, *arguments = _between.split(re.sub("^haproxy:", "", endpoint, flags=re.IGNORECASE))
    if kind == "unix" or (kind == "systemd" and "domain=UNIX" in arguments):
        return True
    return any(_is_loopback(argument.removeprefix("interface=").replace("\\:", ":")) for argument in arguments)


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
