"""The admin port: health checks, metrics and rejected requests over HTTP.

* ``/live``: the process works
* ``/ready``: new calls are accepted
* ``/health/check``: the same in the format of Genesys' reference server, for its load balancers and monitors
* ``/metrics``: counters and gauges for Prometheus
* ``/sessions``: the live sessions as JSON. ``POST /sessions/ID/pause`` and ``.../resume`` pause one, if ``[admin]
  allow_pause`` is set
* ``/refused``: the last rejected requests with their reasons, for ``audiohookctl explain-signature``, which may name
  further hosts and paths to try by ``host`` and ``path`` in the query

Requests with a foreign Host are rejected (:mod:`audiohookd.observe.host_check`).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from math import inf
from typing import Any, NamedTuple

from msgspec import Struct
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import (
    FORBIDDEN,
    INTERNAL_SERVER_ERROR,
    NOT_ALLOWED,
    NOT_FOUND,
    OK,
    SERVICE_UNAVAILABLE,
    Request,
)
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from audiohookd.escaping import printable
from audiohookd.interfaces import PoolFull
from audiohookd.observe.admin_connections import AdminConnections
from audiohookd.observe.host_check import HostCheck, HostFault
from audiohookd.observe.log_rate_limit import LogRateLimit

#: Seconds after which a client may retry a request that was rejected as busy.
RETRY_AFTER = 2
#: Seconds for which the list of sessions is not built again.
CACHE_TIME = 1.0
#: The most log lines per minute about requests with a foreign Host or Origin.
REJECTIONS_LOGGED = 5


class _Answer(NamedTuple):
    status: int
    body: bytes
    kind: bytes = b"text/plain; charset=utf-8"
    header: tuple[bytes, bytes] | None = None


#: An action on a session: its id, and what to do.
_ACTION = re.compile(rb"/sessions/([0-9A-Fa-f-]{36})/(pause|resume)")

_Query = Mapping[bytes, Sequence[bytes]]
_Page = Callable[[_Query], "_Answer | Deferred[_Answer]"]
_Refused = Callable[[tuple[str, ...], tuple[str, ...]], "Deferred[bytes]"]


class AdminSources(Struct, frozen=True):
    """What the admin port shows. The functions are called at each request and must not block."""

    #: True if new calls are accepted.
    is_ready: Callable[[], bool]
    #: Returns why no new call is accepted, for the operator, or None.
    obstacle: Callable[[], str | None]
    #: Returns the metrics in the text format of Prometheus.
    metrics: Callable[[], str]
    #: Returns the last rejected requests as JSON without secrets. Its arguments are the hosts and the paths in the
    #: query. It fails with PoolFull if too many such requests wait.
    refused: _Refused = lambda *_: succeed(b'{"refused": []}')
    #: Returns warnings for the operator; each is a line of ``/ready``.
    warnings: Callable[[], Sequence[str]] = lambda: ()
    #: Returns the live sessions, for JSON.
    sessions: Callable[[], Sequence[Mapping[str, object]]] = lambda: ()
    #: Pauses a session (True) or ends that pause; False if there is no such session. None: not allowed.
    hold_pause: Callable[[str, bool], bool] | None = None


def admin_site(reactor: Any, sources: AdminSources, allowed_hosts: Sequence[str] = ()) -> IProtocolFactory:
    """Builds the site. Each connection may send one request.

    :param allowed_hosts: as for :class:`~audiohookd.observe.host_check.HostCheck`.
    """
    pages = _Pages(sources, HostCheck(allowed_hosts), reactor)
    return AdminConnections(_QuietSite(pages, reactor=reactor), reactor)


def _pages(sources: AdminSources, clock: IReactorTime) -> dict[bytes, _Page]:
    listed = _cached(lambda: json.dumps({"sessions": sources.sessions()}).encode(), clock)

    def ready(_: _Query) -> _Answer:
        return _say("ready", sources.is_ready(), sources.obstacle(), sources.warnings())

    def refused(query: _Query) -> "Deferred[_Answer]":
        return sources.refused(_told(query, b"host"), _told(query, b"path")).addCallback(_json)

    return {
        b"/live": lambda _: _say("live", True),
        b"/ready": ready,
        b"/health/check": lambda _: _say_like_reference(sources.is_ready()),
        b"/metrics": lambda _: _Answer(OK, sources.metrics().encode(), b"text/plain; version=0.0.4; charset=utf-8"),
        b"/sessions": lambda _: _json(listed()),
        b"/refused": refused,
    }


def _cached(build: Callable[[], bytes], clock: IReactorTime) -> Callable[[], bytes]:
    """Builds a document at most once in :data:`CACHE_TIME`: a list of 1,000 sessions takes some milliseconds."""
    built_at, document = -inf, b""

    def cached() -> bytes:
        nonlocal built_at, document
        if clock.seconds() - built_at >= CACHE_TIME:
            built_at, document = clock.seconds(), build()
        return document

    return cached


class _Pages(Resource):
    """The whole site in one resource, because Twisted's own error pages are HTML and deprecated."""

    isLeaf = True
    _log = Logger()

    def __init__(self, sources: AdminSources, check: HostCheck, clock: IReactorTime) -> None:
        super().__init__()
        self._hold_pause = sources.hold_pause
        self._pages = _pages(sources, clock)
        self._check = check
        self._clock = clock
        self._logged = LogRateLimit(REJECTIONS_LOGGED)

    def render(self, request: Request) -> bytes | int:
        """Answers a request, which is the last on its connection."""
        request.channel.persistent = False  # further requests stay unread
        request.setHeader(b"connection", b"close")
        headers = request.requestHeaders.getRawHeaders
        fault = self._check.fault(request.clientproto, headers(b"host", []), headers(b"origin", []))
        if fault is not None:
            return _headed(self._reject(fault), request)
        answer = self._answer(request.method, request.path, request.args or {})
        if isinstance(answer, Deferred):
            answer.addErrback(self._failed).addCallback(_answer_later, request)
            return NOT_DONE_YET
        return _headed(answer, request)

    def _reject(self, fault: HostFault) -> _Answer:
        left_out = self._logged.admit("", self._clock.seconds())
        if left_out is not None:
            more = f" ({left_out} more within the last minute)" if left_out else ""
            self._log.warn("admin port: rejected: {fault}{more}", fault=fault.text, more=more)
        return _Answer(fault.status, f"{fault.text}\n".encode("ascii"))

    def _failed(self, failure: Failure) -> _Answer:
        if failure.check(PoolFull):
            body = b"busy: too many questions about rejected requests wait: try again later\n"
            return _Answer(SERVICE_UNAVAILABLE, body, header=(b"retry-after", b"%d" % RETRY_AFTER))
        self._log.failure("a page of the admin port failed", failure)
        return _Answer(INTERNAL_SERVER_ERROR, b"internal error\n")

    def _answer(self, method: bytes, path: bytes, query: _Query) -> "_Answer | Deferred[_Answer]":
        if (action := _ACTION.fullmatch(path)) is not None and method == b"POST":
            return self._act(action[1].decode(), action[2] == b"pause")
        if path not in self._pages:
            return _Answer(NOT_FOUND, b"not found\n")
        if method not in (b"GET", b"HEAD"):
            return _Answer(NOT_ALLOWED, b"method not allowed\n", header=(b"allow", b"GET, HEAD"))
        return self._pages[path](query)

    def _act(self, session_id: str, is_held: bool) -> _Answer:
        if self._hold_pause is None:
            return _Answer(FORBIDDEN, b"pausing of calls is not allowed: set allow_pause = true in [admin]\n")
        if not self._hold_pause(session_id, is_held):
            return _Answer(NOT_FOUND, b"no open session has this id\n")
        return _Answer(OK, b"paused\n" if is_held else b"resumed\n")


def _answer_later(answer: _Answer, request: Request) -> None:
    if request.channel is not None:  # else the client has disconnected
        request.write(_headed(answer, request))
        request.finish()


def _headed(answer: _Answer, request: Request) -> bytes:
    """Sets status and headers. Returns the body to send."""
    request.setResponseCode(answer.status, HTTPStatus(answer.status).phrase.encode())  # Twisted does not know 421
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"content-type", answer.kind)
    # Twisted would not send the body for HEAD either, but log a warning about it at each probe.
    request.setHeader(b"content-length", b"%d" % len(answer.body))
    if answer.header is not None:
        request.setHeader(*answer.header)
    return b"" if request.method == b"HEAD" else answer.body


class _QuietSite(Site):
    """A Site that logs no requests, because probes arrive every second."""

    def log(self, request: Request) -> None:
        """Logs nothing."""


def _status(well: bool) -> int:
    return OK if well else SERVICE_UNAVAILABLE


def _say(word: str, well: bool, reason: str | None = None, warnings: Sequence[str] = ()) -> _Answer:
    first = word if well else f"not {word}" + (f": {reason}" if reason else "")
    lines = [first, *(f"warning: {warning}" for warning in warnings)]
    # A path in a line may contain a line break, or bytes that are not text.
    return _Answer(_status(well), "".join(f"{printable(line)}\n" for line in lines).encode())


def _say_like_reference(well: bool) -> _Answer:
    body = {"Http-Status": _status(well), "Healthy": well}
    return _Answer(_status(well), json.dumps(body).encode(), b"application/json; charset=utf-8")


def _told(query: _Query, name: bytes) -> tuple[str, ...]:
    return tuple(value.decode("utf-8", "replace") for value in query.get(name, ()))


def _json(document: bytes) -> _Answer:
    return _Answer(OK, document, b"application/json; charset=utf-8")
