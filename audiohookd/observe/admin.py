"""How the daemon is, over HTTP, on a port of its own.

``/live``: the process works. ``/ready``: new calls are welcome. ``/health/check``: the same in the words of Genesys'
reference server, whose load balancers and monitors ask for it. ``/metrics``: what was counted, for Prometheus.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from twisted.web.http import NOT_ALLOWED, NOT_FOUND, OK, SERVICE_UNAVAILABLE, Request
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import Site


class _Answer(NamedTuple):
    status: int
    body: bytes
    kind: bytes = b"text/plain; charset=utf-8"


def admin_site(
    reactor: Any, is_ready: Callable[[], bool], obstacle: Callable[[], str | None], metrics: Callable[[], str]
) -> Site:
    """The site. ``is_ready``, ``obstacle`` and ``metrics`` are asked at each request and must answer at once.

    :param obstacle: why no new call is taken, for the sysadmin, or None.
    """
    pages = {
        b"/live": lambda: _say("live", True),
        b"/ready": lambda: _say("ready", is_ready(), obstacle()),
        b"/health/check": lambda: _say_like_reference(is_ready()),
        b"/metrics": lambda: _Answer(OK, metrics().encode(), b"text/plain; version=0.0.4; charset=utf-8"),
    }
    return _QuietSite(_Pages(pages), reactor=reactor)


class _Pages(Resource):
    """All of the site in one resource: Twisted's own error pages are HTML, and deprecated."""

    isLeaf = True

    def __init__(self, pages: Mapping[bytes, Callable[[], _Answer]]) -> None:
        super().__init__()
        self._pages = pages

    def render(self, request: IRequest) -> bytes:
        """Answers, and nobody is to keep the answer."""
        answer = self._answer(request.method, request.path)
        request.setResponseCode(answer.status)
        request.setHeader(b"cache-control", b"no-store")
        request.setHeader(b"content-type", answer.kind)
        if answer.status == NOT_ALLOWED:
            request.setHeader(b"allow", b"GET, HEAD")
        if request.method != b"HEAD":
            return answer.body
        # Twisted would not send the body either, but log that there was one, at each probe.
        request.setHeader(b"content-length", b"%d" % len(answer.body))
        return b""

    def _answer(self, method: bytes, path: bytes) -> _Answer:
        if path not in self._pages:
            return _Answer(NOT_FOUND, b"not found\n")
        if method not in (b"GET", b"HEAD"):
            return _Answer(NOT_ALLOWED, b"method not allowed\n")
        return self._pages[path]()


class _QuietSite(Site):
    """Logs no requests: a probe each second is no news."""

    noisy = False

    def logPrefix(self) -> str:
        """How the port calls itself in the log."""
        return "admin"

    def log(self, request: Request) -> None:
        """Nothing."""


def _status(well: bool) -> int:
    return OK if well else SERVICE_UNAVAILABLE


def _say(word: str, well: bool, reason: str | None = None) -> _Answer:
    line = word if well else f"not {word}" + (f": {reason}" if reason else "")
    # A path in it may be of bytes that are no text.
    return _Answer(_status(well), f"{line}\n".encode("utf-8", "backslashreplace"))


def _say_like_reference(well: bool) -> _Answer:
    body = {"Http-Status": _status(well), "Healthy": well}
    return _Answer(_status(well), json.dumps(body).encode(), b"application/json; charset=utf-8")
