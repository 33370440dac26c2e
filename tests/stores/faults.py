"""What can happen to a request on its way to a store."""

import re
from typing import NamedTuple


class Answer(NamedTuple):
    """The store's own refusal, after it has taken the whole request: 503 SlowDown, 400 ExpiredToken ..."""

    status: int
    code: str
    retry_after: int | None = None
    message: str = "so it is"


class Hang(NamedTuple):
    """Nothing is ever answered."""


class Reset(NamedTuple):
    """The connection is reset once the head of the request is there."""


class Cut(NamedTuple):
    """The connection is reset when ``after`` bytes of the body have gone through."""

    after: int


class Corrupt(NamedTuple):
    """The bits of byte ``at`` of the body are turned over."""

    at: int


class Lose(NamedTuple):
    """The store does what it is asked to, and the connection is reset before anybody hears of it."""


class Dawdle(NamedTuple):
    """The store does what it is asked to. Its answer begins at once, and then has white space in it for a while."""

    times: int
    pause: float


Fault = Answer | Hang | Reset | Cut | Corrupt | Lose | Dawdle


class Rule:
    """A fault, and the requests that it happens to.

    :param times: how many of them; None for all.
    :param method: a regular expression for all of it.
    :param path: a regular expression to be found in path and query.
    """

    def __init__(self, fault: Fault, times: int | None, method: str, path: str) -> None:
        self.fault = fault
        self._times = times
        self._method = re.compile(method)
        self._path = re.compile(path)

    def takes(self, method: str, path: str) -> bool:
        """Whether it is about this request, which then counts."""
        if self._times == 0 or not self._method.fullmatch(method) or not self._path.search(path):
            return False
        if self._times is not None:
            self._times -= 1
        return True


class Seen(NamedTuple):
    """A request that ended.

    ``status`` is what the client was told. When it was told nothing: the fault (``hang``, ``cut`` ...), or ``gone``.
    """

    method: str
    path: str
    status: int | str

    def fits(self, method: str, path: str, status: int | str | None) -> bool:
        """As for :class:`Rule`; ``status`` None for any."""
        matches = re.fullmatch(method, self.method) and re.search(path, self.path)
        return bool(matches) and status in (None, self.status)
