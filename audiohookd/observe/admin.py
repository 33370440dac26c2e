"""How the daemon is, over HTTP, on a port of its own.

``/live``: the process works. ``/ready``: new calls are welcome. ``/health/check``: the same in the words of Genesys'
reference server, whose load balancers and monitors ask for it.
"""

import json
from collections.abc import Callable

from twisted.web.http import OK, SERVICE_UNAVAILABLE, Request
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import Site


class _Answer(Resource):
    """A resource that only says yes or no."""

    def __init__(self, is_well: Callable[[], bool], say: Callable[[int, bool], bytes], kind: bytes) -> None:
        super().__init__()
        self._is_well = is_well
        self._say = say
        self._kind = kind

    def render_GET(self, request: IRequest) -> bytes:
        well = self._is_well()
        status = OK if well else SERVICE_UNAVAILABLE
        request.setResponseCode(status)
        request.setHeader(b"content-type", self._kind)
        request.setHeader(b"cache-control", b"no-store")
        return self._say(status, well)

    def render_HEAD(self, request: IRequest) -> bytes:
        # Twisted would send no body either, but log that there was one, at each probe.
        request.setHeader(b"content-length", b"%d" % len(self.render_GET(request)))
        return b""


def admin_site(is_ready: Callable[[], bool]) -> Site:
    """The site. ``is_ready`` is asked at each request and must answer at once."""
    root = Resource()
    root.putChild(b"live", _text(lambda: True, "live"))
    root.putChild(b"ready", _text(is_ready, "ready"))
    health = Resource()
    root.putChild(b"health", health)
    health.putChild(b"check", _Answer(is_ready, _reference_words, b"application/json; charset=utf-8"))
    return _QuietSite(root)


class _QuietSite(Site):
    """Logs no requests: a probe each second is no news."""

    noisy = False
    displayTracebacks = False

    def log(self, request: Request) -> None:
        """Nothing."""


def _text(is_well: Callable[[], bool], word: str) -> _Answer:
    def say(_: int, well: bool) -> bytes:
        return f"{word}\n".encode() if well else f"not {word}\n".encode()

    return _Answer(is_well, say, b"text/plain; charset=utf-8")


def _reference_words(status: int, well: bool) -> bytes:
    return json.dumps({"Http-Status": status, "Healthy": well}).encode()
