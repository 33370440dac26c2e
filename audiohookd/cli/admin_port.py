"""Requests to the admin port of a daemon."""

from typing import Final
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from audiohookd.cli.usage_error import UsageError
from audiohookd.escaping import printable

ADMIN: Final = "http://127.0.0.1:3001"
REMEDY: Final = "give --admin URL, the address in [admin] endpoint of its configuration"
_TIMEOUT = 10.0  # seconds
_MAX_SIZE = 64 << 20
#: Bytes that are read of the body of an HTTP error.
_MAX_ERROR_BODY = 1_000


def page(admin: str, path: str, method: str = "GET") -> bytes:
    """Returns the answer of the daemon.

    :param admin: URL of the admin port.
    :param path: with the query, without the first slash.
    :raises UsageError: the daemon cannot be reached, or rejects the request.
    """
    url = f"{admin.rstrip('/')}/{path}"
    shown = url.partition("?")[0]
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--admin {admin} is not a URL such as {ADMIN}")
    try:
        # Ignores the proxy of the environment: the admin port is on this machine or near it.
        request = Request(url, method=method)  # noqa: S310 - the scheme was checked
        with build_opener(ProxyHandler({})).open(request, timeout=_TIMEOUT) as answer:
            content: bytes = answer.read(_MAX_SIZE)
            return content
    except HTTPError as error:
        body = error.read(_MAX_ERROR_BODY).decode("utf-8", "replace").partition("\n")[0]
        raise UsageError(f"{shown}: {error.code} {error.reason}: {printable(body)}") from None
    except (OSError, URLError) as error:
        raise UsageError(f"{shown}: {getattr(error, 'reason', error)}: {REMEDY}") from None
