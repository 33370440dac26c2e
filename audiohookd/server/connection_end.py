"""How the connection of a session ended: for its log line, its plugins and its recording."""

import errno
import os
from typing import Final, Literal

from msgspec import Struct
from twisted.internet.error import ConnectionAborted, ConnectionClosed, ConnectionDone
from twisted.python.failure import Failure

from audiohookd.escaping import loggable, quoted
from audiohookd.server.ears import Line
from audiohookd.server.tls_failure import failure_of_tls

#: The header of a close frame that is whole, up to its payload length.
CLOSE_FRAME: Final = 0x88
#: Registered at IANA after RFC 6455: service restart, try again later, bad gateway. Proxies send them.
REGISTERED_LATER: Final = frozenset({1012, 1013, 1014})
#: Bytes of the close code.
CODE_SIZE: Final = 2

Cause = Literal["close-frame", "eof", "reset", "timeout", "tls", "aborted", "error"]


class ConnectionEnd(Struct, frozen=True, omit_defaults=True):
    """What ended the connection first.

    ``close-frame``: a WebSocket close frame, with ``code`` (None: it had none) and ``reason``. ``eof``: TCP was
    closed without one. ``reset``: TCP was reset. ``timeout``: TCP gave up. ``tls``: TLS failed. ``aborted``: the
    daemon dropped the connection. ``error``: anything else.
    """

    cause: Cause
    #: Which side began. A proxy in front counts as the client.
    by: Literal["client", "server"]
    code: int | None = None
    #: Of a peer's close frame: as it came, at most 123 bytes, any characters. Else why, in our words.
    reason: str = ""

    def __str__(self) -> str:
        """For a log line: nothing of it unescaped."""
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
                return "TCP was reset by the peer, or a device on the way"
            case "timeout":
                return "TCP timed out"
            case _:
                return loggable(self.reason)


def by_abort(reason: str) -> ConnectionEnd:
    """The daemon dropped the connection."""
    return ConnectionEnd("aborted", "server", reason=reason)


def by_close_frame(code: int | None, reason: bytes | None) -> ConnectionEnd:
    """A close frame came."""
    return ConnectionEnd("close-frame", "client", code, reason=(reason or b"").decode("utf-8", "backslashreplace"))


def by_unmasked_close_frame(data: bytes) -> ConnectionEnd | None:
    """The close frame without a mask that ``data`` begins with, if it does: Caddy 2.6 sends one when it reloads."""
    if len(data) < 2 or data[0] != CLOSE_FRAME or data[1] > 125:
        return None
    payload = data[2 : 2 + data[1]]
    code = int.from_bytes(payload[:CODE_SIZE]) if len(payload) >= CODE_SIZE else None
    return by_close_frame(code, payload[CODE_SIZE:])


def by_transport(failure: Failure, line: Line | None) -> ConnectionEnd:
    """The transport is gone.

    :param line: its reader, which saw what the socket said: the reactor reads an error as the end of the stream then.
    """
    fault = failure.value
    if fault is not None and type(fault).__module__.startswith("OpenSSL"):
        return ConnectionEnd("tls", "client", reason=failure_of_tls(fault))
    if not isinstance(fault, ConnectionClosed):
        return ConnectionEnd("error", "server", reason=f"{type(fault).__name__} while it was read")
    if isinstance(fault, ConnectionAborted):
        return ConnectionEnd("aborted", "server")
    if line is not None and line.fault:
        return _by_errno(line.fault)
    is_at_end = isinstance(fault, ConnectionDone) or (line is not None and line.is_at_end)
    return ConnectionEnd("eof" if is_at_end else "reset", "client")


def _by_errno(number: int) -> ConnectionEnd:
    if number in (errno.ECONNRESET, errno.EPIPE):
        return ConnectionEnd("reset", "client")
    if number == errno.ETIMEDOUT:
        return ConnectionEnd("timeout", "client")
    return ConnectionEnd("error", "client", reason=os.strerror(number))
