"""Describes for the user why a call failed."""

import json
from collections.abc import Mapping

from twisted.internet import error

_HTTP = {
    401: "the server rejected the key or the signature",
    403: "the server forbids the request",
    404: "the server has no AudioHook at this path",
    426: "the server did not see a WebSocket upgrade: is a proxy in the way?",
    429: "rate limit: the server has received too many requests",
    502: "the proxy cannot reach the server",
    503: "the server accepts no calls now",
}

GIVEN_UP = "interrupted before the session was open"
NOT_CLOSED = "the connection was lost before the server closed the session"


def refusal(status_line: str) -> str | None:
    """Describes a rejected upgrade from the status line. None if the server upgraded or sent no status line."""
    parts = status_line.split(None, 2)
    if len(parts) < 2 or not (parts[1].isascii() and parts[1].isdigit()) or parts[1] == "101":
        return None
    status = int(parts[1])
    if 300 <= status < 400:
        return f"HTTP {status}: a redirect, which AudioHook clients do not follow"
    phrase = parts[2][:80] if len(parts) > 2 else "no reason given"
    return f"HTTP {status}: {_HTTP.get(status, phrase)}"


def no_connection(failure: BaseException | None) -> str:
    """Describes why the TCP connection failed."""
    match failure:
        case error.ConnectionRefusedError():
            return "connection refused"
        case error.DNSLookupError():
            return "no such host"
        case error.TimeoutError() | error.TCPTimedOutError():
            return "the connection timed out"
    return " ".join(str(failure).split()) or type(failure).__name__


def disconnect(reason: str, info: str | None, output_variables: Mapping[str, str] | None = None) -> str:
    """Describes the server's ``disconnect`` message."""
    said = f": {info[:200]}" if info else ""
    variables = "" if output_variables is None else f"; outputVariables {json.dumps(output_variables)}"
    return f"the server disconnected, reason {reason}{said}{variables}"


def closing(code: int | None, reason: str | None) -> str:
    """Describes the close frame of a WebSocket."""
    return f"code {code or 'missing'}{f', reason {reason!r}' if reason else ''}"


def not_closed(is_opened: bool, closing: str | None) -> str:
    """Describes why a call ended before the server sent ``closed``."""
    if closing is None:
        return NOT_CLOSED
    return f"the server closed the WebSocket before {'closed' if is_opened else 'opened'}: {closing}"
