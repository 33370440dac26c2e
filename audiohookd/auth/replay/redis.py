"""Nonces in Redis, or in a compatible server such as Valkey, for several hosts.

Uses redis-py in threads. It is the client of the Redis project, supports TLS and users, and a lookup is one short
round trip.
"""

import math
import re
from pathlib import Path
from urllib.parse import urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from audiohookd.auth.replay.store import StoreUnavailable
from audiohookd.runtime.error_text import text_of
from audiohookd.secret_file import read_secret_text

#: Prefix of each key.
PREFIX = "audiohookd:nonce:"

#: Seconds for which a nonce is stored at least. Redis expires keys by the wall clock of its server: if that clock is
#: set forward by less than this, no nonce expires too early. If the daemon's clock is set back by less, no expired
#: nonce becomes new.
RETENTION = 3_600

#: The path of a URL. Any other text there is a part of a password that was not percent-encoded.
_DATABASE = re.compile(r"/?\d*")


class RedisNonces:
    """Nonces of the last ``window`` seconds, or of the last hour if that is longer, at ``url``. Thread-safe.

    Connects at the first call, and again after a connection broke. A lookup is never retried: if only its answer was
    lost, the retry would return "not new". The representation does not show the URL.

    :param timeout: seconds to wait for a connection, and for each answer.
    :raises ValueError: the URL is invalid. The text does not quote it.
    """

    def __init__(self, url: str, window: float, timeout: float) -> None:
        self._place = _place(url)
        self._seconds = max(math.ceil(window), RETENTION)
        try:
            self._client = Redis.from_url(
                url,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                retry=Retry(NoBackoff(), 0),
                # With protocol 3, redis-py does not detect a broken connection before it uses it.
                protocol=2,
            )
            self._client.connection_pool.make_connection()  # does not connect: checks the options only
        except (ValueError, TypeError):
            raise ValueError("has an option that redis-py does not support") from None

    def add(self, entry: bytes, created: float) -> bool:
        """See :class:`audiohookd.auth.replay.shared.NonceBackend`. Uses the clock of the server."""
        try:
            return self._client.set(PREFIX + entry.hex(), 1, nx=True, ex=self._seconds) is True
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"{self._place}: {text_of(error)}") from None

    def close(self) -> None:
        """Closes all connections."""
        self._client.close()


def read_url(path: Path) -> str:
    """Reads the URL from a file. Blocks: for start-up only.

    :raises ValueError: the file cannot be used, or is not ASCII. The text is one line, and quotes no content.
    """
    url = read_secret_text(path).strip()
    if not url.isascii():
        raise ValueError(f"{str(path)!r}: is not a URL: percent-encode all characters that are not ASCII (%C3%A4)")
    return url


def _place(url: str) -> str:
    """Returns host and port of the URL for the log, without user and password.

    Strict, because a frequent mistake is a password with an unencoded / or #. A part of it would then be taken for
    the host, and be logged.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not a URL: percent-encode special characters of the password (%2F for /)") from None
    if parts.scheme == "unix" and parts.path.startswith("/"):
        return f"unix:{parts.path}"
    is_plain = _DATABASE.fullmatch(parts.path) and not parts.fragment and "@" not in parts.query
    if parts.scheme not in ("redis", "rediss") or not host or not is_plain:
        form = "redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS"
        raise ValueError(f"must be {form}; percent-encode special characters of the password (%2F for /)")
    return f"{host}:{port or 6379}"
