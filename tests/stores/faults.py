"""Faults that a request may meet on its way to a store."""

import re
from typing import NamedTuple


class Answer(NamedTuple):
    """An error response of the store after it has received the whole request: 503 SlowDown, 400 ExpiredToken ..."""

    status: int
    code: str
    retry_after: int | None = None
    message: str = "so it is"


class Hang(NamedTuple):
    """The request is never answered."""


class Reset(NamedTuple):
    """The connection is reset after the head of the request."""


class Cut(NamedTuple):
    """The connection is reset after ``after`` bytes of the body."""

    after: int


class Corrupt(NamedTuple):
    """All bits of byte ``at`` of the body are inverted."""

    at: int


class Lose(NamedTuple):
    """The store executes the request, but the connection is reset before the response."""


class Dawdle(NamedTuple):
    """The store executes the request. Its response begins at once, then contains white space for a while."""

    times: int
    pause: float


Fault = Answer | Hang | Reset | Cut | Corrupt | Lose | Dawdle


class Rule:
    """A fault, and the requests that meet it.

    :param times: how many requests; None for all.
    :param method: a regular expression for the whole method.
    :param path: a regular expression to search in path and query.
    """

    def __init__(self, fault: Fault, times: int | None, method: str, path: str) -> None:
        self.fault = fault
        self._times = times
        self._method = re.compile(method)
        self._path = re.compile(path)

    def takes(self, method: str, path: str) -> bool:
        """Whether the rule applies to this request, which then counts."""
        if self._times == 0 or not self._method.fullmatch(method) or not self._path.search(path):
            return False
        if self._times is not None:
            self._times -= 1
        return True


class Seen(NamedTuple):
    """A request that has ended.

    ``status`` is the status that the client received. Without a response it is the fault (``hang``, ``cut`` ...), or
    ``gone``.
    """

    method: str
    path: str
    status: int | str

    def fits(self, method: str, path: str, status: int | str | None) -> bool:
        """As for :class:`Rule`; ``status`` None matches any."""
        matches = re.fullmatch(method, self.method) and re.search(path, self.path)
        return bool(matches) and status in (None, self.status)
