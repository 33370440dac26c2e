"""Why a call failed, in plain words."""

import json
from collections.abc import Mapping

from twisted.internet import error

_HTTP = {
    401: "the server refused the key or the signature",
    403: "the server forbids it",
    404: "no AudioHook at this path",
    426: "the server did not see a WebSocket upgrade: is a proxy in the way?",
    429: "the server has had too many requests",
    502: "the proxy does not reach the server",
    503: "the server takes no calls now",
}

GIVEN_UP = "given up before there was a session"
NOT_CLOSED = "the connection was lost before the server had closed the session"


def refusal(status_line: str) -> str | None:
    """Why the server did not upgrade, by the first line of its answer; None when it did, or did not answer."""
    parts = status_line.split(None, 2)
    if len(parts) < 2 or not (parts[1].isascii() and parts[1].isdigit()) or parts[1] == "101":
        return None
    status = int(parts[1])
    if 300 <= status < 400:
        return f"HTTP {status}: a redirect, and AudioHook clients follow none"
    phrase = parts[2][:80] if len(parts) > 2 else "no reason given"
    return f"HTTP {status}: {_HTTP.get(status, phrase)}"


def no_connection(fault: BaseException | None) -> str:
    """Why there was no connection at all."""
    match fault:
        case error.ConnectionRefusedError():
            return "connection refused"
        case error.DNSLookupError():
            return "no such host"
        case error.TimeoutError() | error.TCPTimedOutError():
            return "no answer to the connection"
    return " ".join(str(fault).split()) or type(fault).__name__


def disconnect(reason: str, info: str | None, output_variables: Mapping[str, str] | None = None) -> str:
    """What the server's ``disconnect`` says."""
    said = f": {info[:200]}" if info else ""
    variables = "" if output_variables is None else f"; outputVariables {json.dumps(output_variables)}"
    return f"the server disconnected, reason {reason}{said}{variables}"


def closing(code: int | None, reason: str | None) -> str:
    """What the close frame of a WebSocket says."""
    return f"code {code or 'missing'}{f', reason {reason!r}' if reason else ''}"


def not_closed(is_opened: bool, closing: str | None) -> str:
    """Why a call was over before the server had sent ``closed``."""
    if closing is None:
        return NOT_CLOSED
    return f"the server closed the WebSocket before {'closed' if is_opened else 'opened'}: {closing}"
