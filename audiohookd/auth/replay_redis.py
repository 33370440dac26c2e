"""Nonces in Redis, or a server that speaks its protocol (Valkey), for several hosts.

By redis-py, in threads: it is what the server's own makers keep, it knows TLS and users, and a question is one short
round trip.
"""

import math
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from audiohookd.auth.replay import StoreDown
from audiohookd.runtime.faults import text_of
from audiohookd.text_encoding import decode_text

#: Begins the name of each key.
PREFIX = "audiohookd:nonce:"

#: Seconds that a nonce stays, at least. Redis expires keys by the wall clock of its server: when that is set forward
#: by less than an hour, none expires too early. A daemon's clock that is set back by less makes none new.
RETENTION = 3_600

#: Of the part after the authority. Whatever else stands there is a part of a password that was not encoded.
_DATABASE = re.compile(r"/?\d*")


class RedisNonces:
    """Nonces of the last ``window`` seconds, and of the last hour, at ``url``. May be called by several threads.

    Connects with the first call, and again whenever a connection broke. Nothing is tried twice: a question whose
    answer was lost would be answered with "not new". Its representation does not show the URL.

    :param patience: seconds to wait for a connection, and for each answer.
    :raises ValueError: it is no such URL. The text does not quote it.
    """

    def __init__(self, url: str, window: float, patience: float) -> None:
        self._place = _place(url)
        self._seconds = max(math.ceil(window), RETENTION)
        try:
            self._client = Redis.from_url(
                url,
                socket_timeout=patience,
                socket_connect_timeout=patience,
                retry=Retry(NoBackoff(), 0),
                # Of the third, redis-py does not look whether a connection has broken before it uses it.
                protocol=2,
            )
            self._client.connection_pool.make_connection()  # does not connect: just looks at the options
        except (ValueError, TypeError):
            raise ValueError("has an option that redis-py does not know") from None

    def add(self, entry: bytes, created: float) -> bool:
        """See :class:`audiohookd.auth.replay_shared.Nonces`. Time is the server's."""
        try:
            return self._client.set(PREFIX + entry.hex(), 1, nx=True, ex=self._seconds) is True
        except (RedisError, OSError) as fault:
            raise StoreDown(f"{self._place}: {text_of(fault)}") from None

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()


def read_url(path: Path) -> str:
    """The URL that is all of a file, which is not for everybody to read. Blocks: for start-up only.

    :raises ValueError: one line, without anything of what is in the file.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(4096)
    except OSError as fault:
        raise ValueError(f"{path}: cannot be read: {fault.strerror}") from fault
    if mode & 0o007:
        raise ValueError(f"{path}: everybody may use it: chmod o= it")
    url = decode_text(content, "replace").strip()
    if not url.isascii():
        raise ValueError(f"{path}: is no URL: encode what is not ASCII (%C3%A4)")
    return url


def _place(url: str) -> str:
    """For the log: without user and password.

    Strict, because what is wrong with a URL is often a password with / or # in it, which then would be a part of the
    host's name, and of what is logged.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is no URL: encode what is special in a password (%2F for /)") from None
    if parts.scheme == "unix" and parts.path.startswith("/"):
        return f"unix:{parts.path}"
    is_plain = _DATABASE.fullmatch(parts.path) and not parts.fragment and "@" not in parts.query
    if parts.scheme not in ("redis", "rediss") or not host or not is_plain:
        form = "redis://USER:PASSWORD@HOST:PORT/DATABASE, or rediss:// for TLS"
        raise ValueError(f"must be {form}; with what is special in a password encoded (%2F for /)")
    return f"{host}:{port or 6379}"
