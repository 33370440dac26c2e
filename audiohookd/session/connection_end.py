"""Describes how the connection of a session ended, for the log, the plugins and the recording."""

import errno
import os
import re
from typing import Final, Literal

from msgspec import Struct
from twisted.internet.error import ConnectionAborted, ConnectionClosed, ConnectionDone
from twisted.python.failure import Failure

from audiohookd.escaping import loggable, quoted

#: First byte of an unfragmented close frame (FIN and opcode 8).
CLOSE_FRAME: Final = 0x88
#: Close codes that IANA registered after RFC 6455: service restart, try again later, bad gateway. Proxies send them.
REGISTERED_LATER: Final = frozenset({1012, 1013, 1014})
#: Size of the close code in bytes.
CODE_SIZE: Final = 2
#: OpenSSL's reasons that are logged. Few, because each has its own log rate limit and unauthenticated peers cause
#: them.
_TELLING = frozenset(
    {
        "http request",
        "https proxy request",
        "no shared cipher",
        "no suitable signature algorithm",
        "unsupported protocol",
        "wrong version number",
        "unexpected eof while reading",
    }
)
#: Alerts from the client, mostly about the daemon's certificate.
_ALERTS = frozenset(
    {
        "bad certificate",
        "certificate expired",
        "certificate unknown",
        "handshake failure",
        "protocol version",
        "unknown ca",
    }
)
_alert = re.compile(r"\S+ alert (.+)")

Cause = Literal["close-frame", "eof", "reset", "timeout", "tls", "aborted", "error"]


class ConnectionEnd(Struct, frozen=True, omit_defaults=True):
    """The first event that ended a connection.

    The values of ``cause``:

    * ``close-frame``: a WebSocket close frame, with ``reason`` and ``code`` (None if it had no code)
    * ``eof``: TCP was closed without a close frame
    * ``reset``: TCP was reset
    * ``timeout``: TCP timed out
    * ``tls``: TLS failed
    * ``aborted``: the daemon dropped the connection
    * ``error``: anything else
    """

    cause: Cause
    #: The side that ended it. A proxy in front of the daemon counts as the client.
    by: Literal["client", "server"]
    code: int | None = None
    #: From a peer's close frame: unchanged, at most 123 bytes, any characters. Otherwise the daemon's description.
    reason: str = ""

    def __str__(self) -> str:
        """An escaped description for a log line."""
        if self.by == "server":
            code = f" with {self.code}" if self.code else ""
            verb = f"closed by the daemon{code}" if self.cause == "close-frame" else "dropped by the daemon"
            return f"{verb}: {loggable(self.reason)}" if self.reason else verb
        match self.cause:
            case "close-frame":
                reason = f" {quoted(self.reason)}" if self.reason else ""
                return f"the peer closed the WebSocket with {self.code or 'no code'}{reason}"
            case "eof":
                return "the peer closed TCP without a WebSocket close frame"
            case "reset":
                return "TCP was reset by the peer or a device on the path"
            case "timeout":
                return "TCP timed out"
            case _:
                return loggable(self.reason)


def by_abort(reason: str) -> ConnectionEnd:
    """The daemon dropped the connection."""
    return ConnectionEnd("aborted", "server", reason=reason)


def by_close_frame(code: int | None, reason: bytes | None) -> ConnectionEnd:
    """The peer sent a close frame.

    :param reason: the reason in the frame; invalid UTF-8 is escaped.
    """
    return ConnectionEnd("close-frame", "client", code, reason=(reason or b"").decode("utf-8", "backslashreplace"))


def by_unmasked_close_frame(data: bytes) -> ConnectionEnd | None:
    """The unmasked close frame at the start of ``data``, or None. Caddy 2.6 sends one when it reloads."""
    if len(data) < 2 or data[0] != CLOSE_FRAME or data[1] > 125:
        return None
    payload = data[2 : 2 + data[1]]
    code = int.from_bytes(payload[:CODE_SIZE]) if len(payload) >= CODE_SIZE else None
    return by_close_frame(code, payload[CODE_SIZE:])


def by_transport(failure: Failure, read_error: int = 0, is_at_end: bool = False) -> ConnectionEnd:
    """The transport lost the connection.

    :param failure: the reason that Twisted gives to ``connectionLost``.
    :param read_error: the errno of the last failed read, or 0. The reactor reports a read error as end of stream.
    :param is_at_end: True if the last read saw the end of the stream.
    """
    error = failure.value
    if error is not None and type(error).__module__.startswith("OpenSSL"):
        return ConnectionEnd("tls", "client", reason=failure_of_tls(error))
    if not isinstance(error, ConnectionClosed):
        return ConnectionEnd("error", "server", reason=f"{type(error).__name__} while it was read")
    if isinstance(error, ConnectionAborted):
        return ConnectionEnd("aborted", "server")
    if read_error:
        return _by_errno(read_error)
    has_ended = is_at_end or isinstance(error, ConnectionDone)
    return ConnectionEnd("eof" if has_ended else "reset", "client")


def _by_errno(number: int) -> ConnectionEnd:
    if number in (errno.ECONNRESET, errno.EPIPE):
        return ConnectionEnd("reset", "client")
    if number == errno.ETIMEDOUT:
        return ConnectionEnd("timeout", "client")
    return ConnectionEnd("error", "client", reason=os.strerror(number))


def failure_of_tls(error: BaseException) -> str:
    """Describes an ``OpenSSL.SSL.Error``, or any other exception, in one line. Unknown reasons are omitted."""
    for reason in _reasons_of_tls(error):
        if reason in _TELLING:
            return f"TLS failed ({reason})"
        alert = _alert.fullmatch(reason)
        if alert is not None and alert[1] in _ALERTS:
            return f"TLS failed (alert from the client: {alert[1]})"
    return "TLS failed"


def _reasons_of_tls(error: BaseException) -> list[str]:
    """The reasons in an OpenSSL error: its argument is a list of (library, function, reason)."""
    entries = error.args[0] if error.args else ()
    if not isinstance(entries, list | tuple):
        return []
    return [str(entry[-1]) for entry in entries if isinstance(entry, tuple) and entry]
