"""HTTP client connections that bound the time and the size of each response.

Socket timeouts apply to each read, so a server that sends a byte now and then could block a thread without end. The
HTTP libraries (http.client, urllib3, botocore) also read many parts of a response whole. So the bounds are applied
where the bytes arrive.
"""

import io
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from urllib3.exceptions import HTTPError

#: The largest interim response ("100 Continue" or an error before the body), in bytes.
INTERIM = 16 << 10
#: Bytes that are sent at a time: a record of TLS. For all that it is given at once, Python has one deadline then.
SEND_CHUNK = 16 << 10


class BadAnswer(HTTPError):
    """A response exceeds its bounds. The connection cannot be used any more."""


class Allowance(NamedTuple):
    """Larger limits for one kind of response than its :class:`Bounds`."""

    #: To the last byte of the response.
    seconds: float = 0.0
    #: Bytes, headers and all.
    size: int = 0


class Bounds(NamedTuple):
    """The limits of each response. The time starts when the request has been sent.

    Sending has no total limit, but each :data:`SEND_CHUNK` bytes must go out within ``seconds``.
    """

    #: To the last byte of the response; also the timeout of each read, whatever the allowance.
    seconds: float
    #: Bytes, headers and all.
    size: int
    #: Monotonic, in seconds.
    now: Callable[[], float]
    #: Returns larger limits for the response that the calling thread waits for.
    allowance: "Callable[[], Allowance] | None" = None

    @property
    def total(self) -> float:
        """Seconds to the last byte of the response that the calling thread waits for."""
        return self.seconds if self.allowance is None else max(self.seconds, self.allowance().seconds)

    @property
    def limit(self) -> int:
        """Bytes of the response that the calling thread waits for."""
        return self.size if self.allowance is None else max(self.size, self.allowance().size)


def bounded(pools: Mapping[str, Any], bounds: Bounds) -> dict[str, Any]:
    """Connection pool classes with bounded responses.

    :param pools: urllib3's classes by scheme, as in ``PoolManager.pool_classes_by_scheme``.
    """
    return {scheme: _bounded(pool, bounds) for scheme, pool in pools.items()}


def _bounded(pool: Any, bounds: Bounds) -> Any:
    connection = type(pool.ConnectionCls.__name__, (_Bounded, pool.ConnectionCls), {"answer_bounds": bounds})
    return type(pool.__name__, (_FollowsNoRedirect, pool), {"ConnectionCls": connection})


class _FollowsNoRedirect:
    """A connection pool that returns redirects instead of following them.

    For a 303, urllib3 2.x turns the request into a GET and fails on botocore's headers, which are bytes. The request
    then counts as unanswered and is sent again.
    """

    def urlopen(self, *arguments: Any, **options: Any) -> Any:
        """See urllib3's ``HTTPConnectionPool.urlopen``."""
        pool: Any = super()
        return pool.urlopen(*arguments, **{**options, "redirect": False})


class _Bounded:
    """A connection with a bounded ``sock``, also through a proxy."""

    answer_bounds: Bounds
    _bounded_socket: "_BoundedSocket | None" = None

    @property
    def sock(self) -> "_BoundedSocket | None":
        return self._bounded_socket

    @sock.setter
    def sock(self, sock: Any) -> None:
        self._bounded_socket = None if sock is None else _BoundedSocket(sock, self.answer_bounds)


class _BoundedSocket:
    """A connected socket with bounded responses."""

    def __init__(self, sock: Any, bounds: Bounds) -> None:
        self._sock = sock
        self._bounds = bounds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def settimeout(self, seconds: float | None) -> None:
        """Ignored: each read and each send sets its own timeout."""

    def sendall(self, data: Any) -> None:
        """Sends in chunks, each with its own timeout."""
        left = memoryview(data).cast("B")
        self._sock.settimeout(self._bounds.seconds)
        while left:
            left = left[self._sock.send(left[:SEND_CHUNK]) :]

    def makefile(self, mode: str, buffering: int = -1) -> io.BufferedIOBase | io.RawIOBase:
        """The reader of the next response; unbuffered for the interim response to "Expect: 100-continue"."""
        if buffering == 0:
            return _Interim(self._sock, self._bounds._replace(size=INTERIM, allowance=None))
        return io.BufferedReader(_Answer(self._sock, self._bounds))


class _Answer(io.RawIOBase):
    """The bytes of one response. urllib3 handles the TimeoutError."""

    def __init__(self, sock: Any, bounds: Bounds) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._bounds = bounds
        self._until = bounds.now() + bounds.total
        self._size = self._left = bounds.limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - self._bounds.now()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(min(left, self._bounds.seconds))
        count: int = self._file.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise BadAnswer(f"the answer has more than {self._size} bytes")
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Interim(_Answer):
    """An interim response. botocore reads it without a deadline, and loops when the connection ends."""

    def readinto(self, buffer: Any) -> int:
        try:
            count = super().readinto(buffer)
        except TimeoutError:
            raise BadAnswer(f"the answer took more than {self._bounds.seconds} s") from None
        if not count:
            raise ConnectionResetError("closed instead of an answer")
        return count
