"""Somebody who takes notices by HTTP, and what the answers mean. For worker threads."""

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
from audiohookd_plugins.answers import Bounds, bounded
from audiohookd_plugins.notices.address import origin
from audiohookd_plugins.notices.notifier import CONNECT_TIMEOUT, refusal
from audiohookd_plugins.notices.private import read_private

#: Bytes that an answer may have, headers and all, as far as it is read.
ANSWER = 64 << 10
#: How much of its body is read, in bytes, in how many pieces at most: who drips may not hold us for long.
BODY = 1024
PIECES = 4
#: How much of it goes into a message, in characters.
SHOWN = 200
#: Characters of the shortest part of a URL, or of a header, that is not shown to whoever reads the log.
SECRET = 8
#: To the proxy, and never to the receiver.
PROXY_AUTHORIZATION = "proxy-authorization"

_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([!-~](?:[ -~]*[!-~])?)[ \t]*")
#: What is not for others to say.
_OURS = re.compile(r"webhook-.*|content-.*|host|connection|expect|transfer-encoding")


class Receiver:
    """A URL, and the connections to it, which are kept open where the other side allows it.

    :param headers: of every request, their names in lower case. Their values never reach a log, nor does the URL
        beyond its host.
    :param timeout: seconds to wait for an answer.
    """

    def __init__(self, url: Url, pool: urllib3.PoolManager, headers: Mapping[str, str], timeout: float) -> None:
        self._url = url
        pool.pool_classes_by_scheme = bounded(pool.pool_classes_by_scheme, Bounds(timeout, ANSWER, time.monotonic))
        self._pool = pool
        self._headers = {"user-agent": "audiohookd", "content-type": "application/json", **headers}
        self._timeout = urllib3.Timeout(connect=min(CONNECT_TIMEOUT, timeout), read=timeout)
        # A receiver may repeat what it got, in whole or in parts.
        parts = re.split(r"[/?&= ]", " ".join((url.request_uri, *headers.values())))
        self._secrets = {part for part in parts if len(part) >= SECRET}

    def __repr__(self) -> str:
        return f"<receiver at {origin(self._url)}>"

    def post(self, body: bytes, headers: Mapping[str, str], now: float) -> None:
        """Returns when the answer was a success: its status is one, whatever becomes of the rest.

        :param now: seconds since the epoch.
        :raises Unavailable: nobody can be reached, or is willing, at the moment.
        :raises Refused: another answer; redirects are not followed.
        """
        try:
            answer = self._request(body, {**self._headers, **headers})
        except HTTPError as fault:
            # Not chained: whoever logs the original one may log a URL.
            raise Unavailable(f"{origin(self._url)}: {loggable(self._redacted(str(fault)))}") from None
        said = _beginning(answer)
        if not 200 <= answer.status < 300:
            text = self._redacted(said.decode("ascii", "replace"))
            raise refusal(
                answer.status,
                f"{origin(self._url)} answered {answer.status}" + (f": {quoted(text, SHOWN)}" if text else ""),
                answer.headers.get("retry-after"),
                now,
            )

    def _request(self, body: bytes, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        try:
            return self._try(body, headers)
        except ProtocolError:
            # It may have been a connection that was kept open, and which the other side was about to close.
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
    """Connections to one host, of which ``count`` are kept open. Blocks: for start-up only.

    :param ca_file: certificates to trust; None for those of the system.
    :param headers: for the proxy.
    :raises ValueError: ``ca_file`` holds none.
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
    """The headers in a file with secrets, one a line; their names in lower case. Blocks: for start-up only.

    :raises ValueError: as :func:`read_private`, or a line is no header, or one that is not for others to say.
    """
    headers: dict[str, str] = {}
    for number, line in enumerate(read_private(path), 1):
        if not line.strip():
            continue
        header = _HEADER.fullmatch(line.strip())
        if header is None:
            raise ValueError(f"{path}: line {number}: is not 'Name: value' in printable ASCII")
        name = header[1].lower()
        if _OURS.fullmatch(name) or name in headers:
            raise ValueError(f"{path}: line {number}: {name!r} cannot be set, or stands twice")
        headers[name] = header[2]
    return headers


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as fault:
        raise ValueError(f"{ca_file}: holds no certificate in PEM") from fault
    except OSError as fault:
        raise ValueError(f"{ca_file}: cannot be read: {fault.strerror}") from fault


def _beginning(answer: urllib3.BaseHTTPResponse) -> bytes:
    """Of its body. The connection can be used again when that was all of it."""
    said = b""
    try:
        for _ in range(PIECES):
            piece = answer.read1(BODY - len(said), decode_content=False)
            said += piece
            if not piece:
                break
    except HTTPError:
        said += b" (cut off)"
    finally:
        answer.close()
    return said
