"""The answer to the upgrade request, and what it means."""

import base64
import hashlib
import re
import socket
from collections.abc import Mapping
from typing import Final, NamedTuple

from audiohookd.cli.doctor.steps import ActivationError, Deadline, Done, StepFailed

_MAX_HEAD = 65_536
_MAX_BODY = 2_048
#: Seconds for what comes after the head of an answer that is no upgrade.
_BODY_TIME = 0.3
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_STATUS_LINE = re.compile(r"HTTP/1\.[01] (\d{3})(?: (.*))?")

_MEANINGS: Final[Mapping[int, str]] = {
    400: "the request is not taken for one of AudioHook; does a proxy take headers out?",
    401: "key or signature are refused; `audiohookctl explain-signature --recent`, where the daemon runs, tells why",
    403: "it is forbidden: a list of allowed addresses, or a firewall for web applications",
    404: "there is nothing at this path: compare it with [[route]] of the daemon, and with the proxy's",
    408: "the request did not get through in time",
    421: "the proxy has no site of this name",
    426: "the upgrade did not come through: let the proxy pass on Connection and Upgrade",
    429: "too many requests at once",
    431: "the request is too large for it",
    500: "an error of the server's own: see its log",
    502: "the proxy does not reach the daemon: does it run, and is that its endpoint?",
    503: "nothing takes calls now: does the daemon run, is it full, is its disk?",
    504: "the proxy gets no answer from the daemon in time",
}


class Answer(NamedTuple):
    """The head of an answer, and what came with it."""

    status: int
    phrase: str
    headers: Mapping[str, str]
    rest: bytes


def upgrade(connection: socket.socket, request: str, key: str, deadline: Deadline) -> Done[bytes]:
    """Sends the request; gives what came after the head of a 101.

    :param key: ``Sec-WebSocket-Key`` of the request.
    :raises Trouble: it is no WebSocket.
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
    """What a status other than 101 means, and what to look after."""
    status = answer.status
    if 300 <= status < 400:
        where = answer.headers.get("location", "nowhere")[:200]
        return f"a redirect to {where}, and Genesys Cloud follows none: enter that address, or take it away"
    if 200 <= status < 300:
        return "a web page instead of a WebSocket: the path, or the proxy, leads to another server"
    return _MEANINGS.get(status, "see the log of the proxy, and the daemon's")


def _author(answer: Answer, connection: socket.socket) -> str:
    """Who answered. The daemon says nothing but its status; proxies have pages of their own."""
    body = answer.rest or _body(connection)
    server = answer.headers.get("server", "")[:60]
    if body.strip(b"0\r\n"):
        return f" (not the daemon answered, but {server or 'a proxy or another server'}: it sent a page of its own)"
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
            raise StepFailed("the request was taken, and not answered: does the proxy reach the daemon?") from None
        if not piece or len(data) > _MAX_HEAD:
            raise StepFailed("the connection was ended without an answer" if not data else "the answer is no HTTP")
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    found = _STATUS_LINE.fullmatch(first)
    if not found:
        raise StepFailed("the answer is no HTTP")
    pairs = (line.partition(":") for line in lines)
    return Answer(int(found[1]), found[2] or "", {n.strip().lower(): v.strip() for n, _, v in pairs}, rest)


def _check(answer: Answer, key: str) -> None:
    digest = hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()
    if answer.headers.get("sec-websocket-accept") != base64.b64encode(digest).decode():
        raise StepFailed(
            "101, but Sec-WebSocket-Accept is wrong: a proxy upgrades by itself, or answers from a cache"
        )
    for name in ("sec-websocket-extensions", "sec-websocket-protocol"):
        if name in answer.headers:
            raise StepFailed(f"101, but with {name}, which was not asked for")
