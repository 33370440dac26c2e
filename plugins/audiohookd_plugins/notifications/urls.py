"""URLs of the configuration. A URL may be as good as a password: no message here holds one."""

import ipaddress
import re

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

_PRINTABLE = re.compile(r"[!-~]+")


def web_address(key: str, text: str) -> Url:
    """The URL ``text``, which is the value of ``key``.

    :raises ValueError: it is none of http or https that names a host, or there is a password in it.
    """
    try:
        url = parse_url(text)
    except LocationParseError:
        raise ValueError(f"{key}: is no URL") from None
    if url.scheme not in ("http", "https") or not url.host or not _PRINTABLE.fullmatch(text):
        raise ValueError(f"{key}: must be a URL such as https://host/path, in printable ASCII")
    if url.auth is not None or url.fragment is not None:
        raise ValueError(f"{key}: must have no user, no password and no # in it")
    return url


def origin(url: Url) -> str:
    """What of ``url`` may be in a log: scheme, host and port."""
    return f"{url.scheme}://{url.netloc}"


def is_loopback(url: Url) -> bool:
    """Whether it is on this machine, whatever a DNS server says."""
    host = (url.host or "").strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
