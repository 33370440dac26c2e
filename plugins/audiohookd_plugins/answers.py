"""Bounds for what servers answer by HTTP: each answer has its time and its size, whatever is sent.

The timeouts of sockets are for each read, so a byte now and then would hold a thread for ever; and what reads the
answers (http.client, urllib3, botocore) reads many parts of them whole. So the bounds are where the bytes come in.
"""

import io
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from urllib3.exceptions import HTTPError

#: Bytes that a server may say about whether it wants the body of a request.
INTERIM = 16 << 10
#: Bytes that are sent at a time: a record of TLS. For all that it is given at once, Python has one deadline then.
PIECE = 16 << 10


class BadAnswer(HTTPError):
    """It is beyond its bounds. The connection is of no use any more."""


class Allowance(NamedTuple):
    """What one kind of answer may take and have, where that is more than its :class:`Bounds` say."""

    #: To the last byte of the answer.
    seconds: float = 0.0
    #: Bytes, headers and all.
    size: int = 0


class Bounds(NamedTuple):
    """Those of each answer. The time begins when the request has been sent.

    Sending may take any time, as long as :data:`PIECE` bytes go each ``seconds``.
    """

    #: To the last byte of the answer, and in any case from one read to the next.
    seconds: float
    #: Bytes, headers and all.
    size: int
    #: Monotonic, in seconds.
    now: Callable[[], float]
    #: What the answer that the calling thread waits for may take and have instead, where that is more.
    allowance: "Callable[[], Allowance] | None" = None

    @property
    def total(self) -> float:
        """Seconds to the last byte of the answer that the calling thread waits for."""
        return self.seconds if self.allowance is None else max(self.seconds, self.allowance().seconds)

    @property
    def limit(self) -> int:
        """Bytes of the answer that the calling thread waits for."""
        return self.size if self.allowance is None else max(self.size, self.allowance().size)


def bounded(pools: Mapping[str, Any], bounds: Bounds) -> dict[str, Any]:
    """Pools of connections whose answers have bounds.

    :param pools: classes of urllib3's by scheme, as in ``PoolManager.pool_classes_by_scheme``.
    """
    return {scheme: _bounded(pool, bounds) for scheme, pool in pools.items()}


def _bounded(pool: Any, bounds: Bounds) -> Any:
    connection = type(pool.ConnectionCls.__name__, (_Bounded, pool.ConnectionCls), {"answer_bounds": bounds})
    return type(pool.__name__, (_FollowsNoRedirect, pool), {"ConnectionCls": connection})


class _FollowsNoRedirect:
    """A pool that returns redirects as they are.

    For a 303 urllib3 (2.x) makes a GET of the request and fails at botocore's headers, which are bytes: the request
    then counts as one without an answer, and is sent again.
    """

    def urlopen(self, *arguments: Any, **options: Any) -> Any:
        """See urllib3's ``HTTPConnectionPool.urlopen``."""
        pool: Any = super()
        return pool.urlopen(*arguments, **{**options, "redirect": False})


class _Bounded:
    """A connection: what its ``sock`` becomes, also on the way to and through a proxy, has bounds."""

    answer_bounds: Bounds
    _line: "_Line | None" = None

    @property
    def sock(self) -> "_Line | None":
        return self._line

    @sock.setter
    def sock(self, sock: Any) -> None:
        self._line = None if sock is None else _Line(sock, self.answer_bounds)


class _Line:
    """A connected socket."""

    def __init__(self, sock: Any, bounds: Bounds) -> None:
        self._sock = sock
        self._bounds = bounds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def settimeout(self, seconds: float | None) -> None:
        """Whoever reads or sends here sets it anew."""

    def sendall(self, data: Any) -> None:
        """What is left goes on, once some of it went."""
        left = memoryview(data).cast("B")
        self._sock.settimeout(self._bounds.seconds)
        while left:
            left = left[self._sock.send(left[:PIECE]) :]

    def makefile(self, mode: str, buffering: int = -1) -> io.BufferedIOBase | io.RawIOBase:
        """The next answer; unbuffered, to the question whether the body of a request may come."""
        if buffering == 0:
            return _Interim(self._sock, self._bounds._replace(size=INTERIM, allowance=None))
        return io.BufferedReader(_Answer(self._sock, self._bounds))


class _Answer(io.RawIOBase):
    """The bytes of one answer. TimeoutError is what urllib3 expects, and makes the best of."""

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
    """What botocore reads itself, without an eye to time, and at the end for ever."""

    def readinto(self, buffer: Any) -> int:
        try:
            count = super().readinto(buffer)
        except TimeoutError:
            raise BadAnswer(f"the answer took more than {self._bounds.seconds} s") from None
        if not count:
            raise ConnectionResetError("closed instead of an answer")
        return count
