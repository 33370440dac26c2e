"""A client that POSTs notifications to one webhook receiver. For worker threads."""

import re
import ssl
import time
from collections.abc import Mapping
from pathlib import Path

import urllib3
from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.util import Url

from audiohookd.escaping import loggable, quoted
from audiohookd.interfaces import Unavailable
from audiohookd.secret_file import read_secret_text
from audiohookd_plugins.bounded_http import Bounds, bounded
from audiohookd_plugins.notifications.notifier import CONNECT_TIMEOUT, rejection
from audiohookd_plugins.notifications.urls import origin

#: The largest response, in bytes with its headers, as far as it is read.
ANSWER = 64 << 10
#: Bytes of the body that are read, and the most reads: a slow receiver cannot hold a thread for long.
MAX_BODY = 1024
MAX_READS = 4
#: Characters of the body that an error text shows.
MAX_SHOWN = 200
#: Characters. Parts of the URL and of header values that are at least this long are redacted in error texts.
MIN_SECRET = 8
#: Sent to the proxy only, never to the receiver.
PROXY_AUTHORIZATION = "proxy-authorization"

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([!-~](?:[ -~]*[!-~])?)[ \t]*")
#: Headers that the client sets itself.
_OURS = re.compile(r"webhook-.*|content-.*|host|connection|expect|transfer-encoding")


class WebhookClient:
    """A URL and its connections, which are kept open if the receiver allows it.

    :param headers: of every request, with names in lower case. Logs contain neither their values, nor more of the URL
        than its origin.
    :param timeout: seconds to wait for a response.
    """

    def __init__(self, url: Url, pool: urllib3.PoolManager, headers: Mapping[str, str], timeout: float) -> None:
        self._url = url
        pool.pool_classes_by_scheme = bounded(pool.pool_classes_by_scheme, Bounds(timeout, ANSWER, time.monotonic))
        self._pool = pool
        self._headers = {"user-agent": "audiohookd", "content-type": "application/json", **headers}
        self._timeout = urllib3.Timeout(connect=min(CONNECT_TIMEOUT, timeout), read=timeout)
        # A receiver may echo the request, in whole or in part.
        parts = re.split(r"[/?&= ]", " ".join((url.request_uri, *headers.values())))
        self._secrets = {part for part in parts if len(part) >= MIN_SECRET}

    def __repr__(self) -> str:
        return f"<receiver at {origin(self._url)}>"

    def post(self, body: bytes, headers: Mapping[str, str], now: float) -> None:
        """Sends one request; returns when the status is a success, whatever follows the status line.

        :param now: seconds since the epoch.
        :raises Unavailable: the receiver is unreachable, or accepts nothing at the moment.
        :raises NotificationRejected: another status; redirects are not followed.
        """
        try:
            answer = self._request(body, {**self._headers, **headers})
        except HTTPError as error:
            # not chained: the original error may contain the URL
            raise Unavailable(f"{origin(self._url)}: {loggable(self._redacted(str(error)))}") from None
        body_start = _read_beginning(answer)
        if not 200 <= answer.status < 300:
            text = self._redacted(body_start.decode("ascii", "replace"))
            raise rejection(
                answer.status,
                f"{origin(self._url)} answered {answer.status}" + (f": {quoted(text, MAX_SHOWN)}" if text else ""),
                answer.headers.get("retry-after"),
                now,
            )

    def _request(self, body: bytes, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        try:
            return self._try(body, headers)
        except ProtocolError:
            # The receiver may just have closed the idle connection: retry once.
            return self._try(body, headers)

    def _try(self, body: bytes, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        return self._pool.request(
            "POST",
            self._url.url,
            body=body,
            headers=headers,
            timeout=self._timeout,
            retries=False,
            redirect=False,
            preload_content=False,
        )

    def _redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "...")
        return text


def connections(
    count: int, ca_file: Path | None, proxy: Url | None, headers: Mapping[str, str]
) -> urllib3.PoolManager:
    """A connection pool for one host, with ``count`` connections kept open. Blocks: for start-up only.

    :param ca_file: certificates to trust; None for the system's.
    :param headers: for the proxy.
    :raises ValueError: ``ca_file`` contains no certificate.
    """
    context = _trust(ca_file)
    if proxy is None:
        return urllib3.PoolManager(num_pools=1, maxsize=count, ssl_context=context)
    return urllib3.ProxyManager(
        proxy.url,
        num_pools=1,
        maxsize=count,
        proxy_headers=headers,
        ssl_context=context,
        proxy_ssl_context=context,
    )


def read_headers(path: Path) -> dict[str, str]:
    """Reads headers from a file with secrets, one per line; names in lower case. Blocks: for start-up only.

    :raises ValueError: as :func:`read_secret_text`, or a line is no header, is a duplicate, or sets a reserved one.
    """
    headers: dict[str, str] = {}
    for number, line in enumerate(read_secret_text(path).splitlines(), 1):
        if not line.strip():
            continue
        header = _HEADER.fullmatch(line.strip())
        if header is None:
            raise ValueError(f"{path}: line {number}: is not 'Name: value' in printable ASCII")
        name = header[1].lower()
        if _OURS.fullmatch(name) or name in headers:
            raise ValueError(f"{path}: line {number}: {name!r} cannot be set, or is a duplicate")
        headers[name] = header[2]
    return headers


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise ValueError(f"{ca_file}: holds no certificate in PEM") from error
    except OSError as error:
        raise ValueError(f"{ca_file}: cannot be read: {error.strerror}") from error


def _read_beginning(answer: urllib3.BaseHTTPResponse) -> bytes:
    """The beginning of the body. If that is all of it, the connection can be reused."""
    body_start = b""
    try:
        for _ in range(MAX_READS):
            data = answer.read1(MAX_BODY - len(body_start), decode_content=False)
            body_start += data
            if not data:
                break
    except HTTPError:
        body_start += b" (cut off)"
    finally:
        answer.close()
    return body_start
