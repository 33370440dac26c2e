"""URLs of the configuration. A URL may contain a secret, so no error text contains one."""

import ipaddress
import re

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

_PRINTABLE = re.compile(r"[!-~]+")


def web_address(key: str, text: str) -> Url:
    """Parses the URL ``text``, the value of ``key``.

    :raises ValueError: it is no http or https URL with a host, or contains a user or password.
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
    """The part of ``url`` that may be logged: scheme, host and port."""
    return f"{url.scheme}://{url.netloc}"


def is_loopback(url: Url) -> bool:
    """Whether the host is this machine, without asking DNS."""
    host = (url.host or "").strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
