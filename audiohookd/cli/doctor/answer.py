"""Reads the response to the upgrade request, and explains a rejection."""

import base64
import hashlib
import re
import socket
from collections.abc import Mapping
from typing import Final, NamedTuple

from audiohookd.cli.doctor.steps import ActivationError, Deadline, Done, StepFailed

_MAX_HEAD = 65_536
_MAX_BODY = 2_048
#: Seconds to wait for the body of a response that rejects the upgrade.
_BODY_TIME = 0.3
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_STATUS_LINE = re.compile(r"HTTP/1\.[01] (\d{3})(?: (.*))?")

_MEANINGS: Final[Mapping[int, str]] = {
    400: "the server does not see an AudioHook request: does a proxy remove headers?",
    401: "key or signature rejected: run `audiohookctl explain-signature --recent` on the daemon's machine",
    403: "forbidden by a list of allowed addresses, or by a web application firewall",
    404: "nothing is served at this path: compare it with [[route]] of the daemon and with the proxy's configuration",
    408: "timed out: the request did not arrive completely",
    421: "the proxy has no site of this name",
    426: "the server did not see the upgrade: make the proxy forward the headers Connection and Upgrade",
    429: "rate limit: too many requests at once",
    431: "the request is larger than the server allows",
    500: "internal error of the server: see its log",
    502: "the proxy cannot reach the daemon: does the daemon run, and is the proxy's upstream address right?",
    503: "the server accepts no calls now: does the daemon run? is it at its call limit? is its disk full?",
    504: "timed out: the proxy got no response from the daemon",
}


class Answer(NamedTuple):
    """The head of a response. ``rest``: the bytes that arrived after it."""

    status: int
    phrase: str
    headers: Mapping[str, str]
    rest: bytes


def upgrade(connection: socket.socket, request: str, key: str, deadline: Deadline) -> Done[bytes]:
    """Sends the request. The value of the step is the bytes that arrived after the head of the 101 response.

    :param key: ``Sec-WebSocket-Key`` of the request.
    :raises StepFailed: the server did not upgrade to a WebSocket.
    """
    connection.settimeout(deadline.left())
    connection.sendall(request.encode("latin-1"))
    answer = _read(connection, deadline)
    if answer.status == 101:
        _check(answer, key)
        return Done(answer.rest, f"101 {answer.phrase}".rstrip())
    complaint = ActivationError.UNAUTHORIZED if answer.status == 401 else ActivationError.CONNECTION
    raise StepFailed(f"{answer.status} {answer.phrase}: {meaning(answer)}{_author(answer, connection)}", complaint)


def meaning(answer: Answer) -> str:
    """Explains a status other than 101, and says what to check."""
    status = answer.status
    if 300 <= status < 400:
        where = answer.headers.get("location", "nowhere")[:200]
        return f"a redirect to {where}, but Genesys Cloud follows none: enter that address, or remove the redirect"
    if 200 <= status < 300:
        return "a web page instead of a WebSocket: the path or the proxy leads to another server"
    return _MEANINGS.get(status, "see the logs of the proxy and of the daemon")


def _author(answer: Answer, connection: socket.socket) -> str:
    """Names the server that responded. The daemon sends only a status line; a proxy adds a page of its own."""
    body = answer.rest or _body(connection)
    server = answer.headers.get("server", "")[:60]
    if body.strip(b"0\r\n"):
        sender = server or "a proxy or another server"
        return f" (sent by {sender}, not by the daemon: the response has a page of its own)"
    return f" (through {server})" if server else ""


def _body(connection: socket.socket) -> bytes:
    connection.settimeout(_BODY_TIME)
    try:
        return connection.recv(_MAX_BODY)
    except OSError:
        return b""


def _read(connection: socket.socket, deadline: Deadline) -> Answer:
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            connection.settimeout(deadline.left())
            piece = connection.recv(4096)
        except TimeoutError:
            raise StepFailed("timed out: no response to the request: can the proxy reach the daemon?") from None
        if not piece or len(data) > _MAX_HEAD:
            raise StepFailed(
                "the connection was closed without a response" if not data else "the response is not HTTP"
            )
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    found = _STATUS_LINE.fullmatch(first)
    if not found:
        raise StepFailed("the response is not HTTP")
    pairs = (line.partition(":") for line in lines)
    return Answer(int(found[1]), found[2] or "", {n.strip().lower(): v.strip() for n, _, v in pairs}, rest)


def _check(answer: Answer, key: str) -> None:
    digest = hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()
    if answer.headers.get("sec-websocket-accept") != base64.b64encode(digest).decode():
        raise StepFailed(
            "101, but Sec-WebSocket-Accept is wrong: a proxy upgrades by itself, or responds from a cache"
        )
    for name in ("sec-websocket-extensions", "sec-websocket-protocol"):
        if name in answer.headers:
            raise StepFailed(f"101, but with the header {name}, which was not requested")
