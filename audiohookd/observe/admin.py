"""How the daemon is, over HTTP, on a port of its own.

``/live``: the process works. ``/ready``: new calls are welcome. ``/health/check``: the same in the words of Genesys'
reference server, whose load balancers and monitors ask for it. ``/metrics``: what was counted, for Prometheus.
``/refused``: the last requests that were refused, and why, for ``audiohookctl explain-signature``; what ``host`` and
``path`` in its query name is tried as well.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import INTERNAL_SERVER_ERROR, NOT_ALLOWED, NOT_FOUND, OK, SERVICE_UNAVAILABLE, Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from audiohookd.escaping import printable
from audiohookd.observe.visits import Visits


class _Answer(NamedTuple):
    status: int
    body: bytes
    kind: bytes = b"text/plain; charset=utf-8"


_Query = Mapping[bytes, Sequence[bytes]]
_Page = Callable[[_Query], "_Answer | Deferred[_Answer]"]
_Refused = Callable[[tuple[str, ...], tuple[str, ...]], "Deferred[list[dict[str, Any]]]"]


def admin_site(
    reactor: Any,
    is_ready: Callable[[], bool],
    obstacle: Callable[[], str | None],
    metrics: Callable[[], str],
    refused: _Refused = lambda *_: succeed([]),
    warnings: Callable[[], Sequence[str]] = lambda: (),
) -> IProtocolFactory:
    """The site; each connection may ask once. All parameters are asked at each request. ``is_ready``, ``obstacle``
    and ``metrics`` must answer at once.

    :param obstacle: why no new call is taken, for the sysadmin, or None.
    :param refused: the last requests that were refused, as they may be shown to anybody; asked with the names and the
        paths that Genesys Cloud may have been told to call, as far as who asks says any.
    :param warnings: what the operator should know although new calls are accepted; a line of ``/ready`` each.
    """
    pages: dict[bytes, _Page] = {
        b"/live": lambda _: _say("live", True),
        b"/ready": lambda _: _say("ready", is_ready(), obstacle(), warnings()),
        b"/health/check": lambda _: _say_like_reference(is_ready()),
        b"/metrics": lambda _: _Answer(OK, metrics().encode(), b"text/plain; version=0.0.4; charset=utf-8"),
        b"/refused": lambda query: refused(_told(query, b"host"), _told(query, b"path")).addCallback(_list),
    }
    return Visits(_QuietSite(_Pages(pages), reactor=reactor), reactor)


class _Pages(Resource):
    """All of the site in one resource: Twisted's own error pages are HTML, and deprecated."""

    isLeaf = True
    _log = Logger()

    def __init__(self, pages: Mapping[bytes, _Page]) -> None:
        super().__init__()
        self._pages = pages

    def render(self, request: Request) -> bytes | int:
        """Answers, at once or later, and nobody is to keep the answer. It is the last one on its connection."""
        request.channel.persistent = False  # what else was asked on it stays unread
        request.setHeader(b"connection", b"close")
        answer = self._answer(request.method, request.path, request.args or {})
        if isinstance(answer, Deferred):
            answer.addErrback(self._failed).addCallback(_answer_later, request)
            return NOT_DONE_YET
        return _headed(answer, request)

    def _failed(self, failure: Failure) -> _Answer:
        self._log.failure("a page of the admin port failed", failure)
        return _Answer(INTERNAL_SERVER_ERROR, b"internal error\n")

    def _answer(self, method: bytes, path: bytes, query: _Query) -> "_Answer | Deferred[_Answer]":
        if path not in self._pages:
            return _Answer(NOT_FOUND, b"not found\n")
        if method not in (b"GET", b"HEAD"):
            return _Answer(NOT_ALLOWED, b"method not allowed\n")
        return self._pages[path](query)


def _answer_later(answer: _Answer, request: Request) -> None:
    if request.channel is not None:  # else nobody is there any more
        request.write(_headed(answer, request))
        request.finish()


def _headed(answer: _Answer, request: Request) -> bytes:
    """Writes the head; gives the body that is to be sent."""
    request.setResponseCode(answer.status)
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"content-type", answer.kind)
    # Where a HEAD is answered, Twisted would not send the body either, but log that there was one, at each probe.
    request.setHeader(b"content-length", b"%d" % len(answer.body))
    if answer.status == NOT_ALLOWED:
        request.setHeader(b"allow", b"GET, HEAD")
    return b"" if request.method == b"HEAD" else answer.body


class _QuietSite(Site):
    """Logs no requests: a probe each second is no news."""

    def log(self, request: Request) -> None:
        """Nothing."""


def _status(well: bool) -> int:
    return OK if well else SERVICE_UNAVAILABLE


def _say(word: str, well: bool, reason: str | None = None, warnings: Sequence[str] = ()) -> _Answer:
    first = word if well else f"not {word}" + (f": {reason}" if reason else "")
    lines = [first, *(f"warning: {warning}" for warning in warnings)]
    # A path in it may have a line break, or bytes that are no text.
    return _Answer(_status(well), "".join(f"{printable(line)}\n" for line in lines).encode())


def _say_like_reference(well: bool) -> _Answer:
    body = {"Http-Status": _status(well), "Healthy": well}
    return _Answer(_status(well), json.dumps(body).encode(), b"application/json; charset=utf-8")


def _told(query: _Query, name: bytes) -> tuple[str, ...]:
    return tuple(value.decode("utf-8", "replace") for value in query.get(name, ()))


def _list(refused: list[dict[str, Any]]) -> _Answer:
    return _Answer(OK, json.dumps({"refused": refused}).encode(), b"application/json; charset=utf-8")
