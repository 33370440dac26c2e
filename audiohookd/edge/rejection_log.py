"""Counts rejected requests and dropped connections, and logs them at a limited rate."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from audiohookd.auth.keys.model import fingerprint
from audiohookd.auth.rejection import RejectionReason
from audiohookd.escaping import CLIENT_TEXT_LIMIT, loggable, quoted
from audiohookd.observe.counters import Counters
from audiohookd.observe.log_rate_limit import LogRateLimit
from audiohookd.session.upgrade import UpgradeInfo

#: The likely cause of a request that is not a WebSocket upgrade, by status.
_LIKELY: Final[Mapping[int, str]] = {
    HTTPStatus.UPGRADE_REQUIRED: ": a browser, a health check, or a proxy that removes Upgrade and Connection",
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED: ": a proxy that speaks HTTP/1.0 (nginx: proxy_http_version 1.1)",
}

#: The text for each limit of one connection, with the name of its setting.
BEYOND: Final[Mapping[str, str]] = {
    "handshake-timeout": "timed out (limits.handshake_timeout)",
    "frames": "above limits.frames_per_second",
    "messages": "above limits.messages_per_second",
    "audio-bytes": "above limits.audio_bytes_per_second",
    "message-bytes": "above limits.message_bytes_per_second",
    "control-frames": "above limits.control_frames_per_second",
    "fragments": "above limits.fragments_per_second",
}


class RejectionLog:
    """Counts and logs the rejections of one port. For the reactor thread.

    Of each kind of line a few are logged; the next line tells how many were suppressed.
    """

    _log = Logger()

    def __init__(self, counters: Counters, clock: IReactorTime) -> None:
        self._counters = counters
        self._clock = clock
        self._rate_limit = LogRateLimit()

    def unauthentic(self, upgrade: UpgradeInfo, reason: RejectionReason) -> None:
        """Logs a request that failed authentication, without its query, which may contain secrets."""
        self._counters.count("rejections", str(reason))
        self._warn(
            str(reason),
            "{peer} rejected: {reason} (session {session}, Host {host}, path {path}{query}{key}){more}",
            peer=upgrade.peer,
            reason=str(reason),
            session=upgrade.session_id,
            host=quoted(upgrade.headers.get("host", ""), CLIENT_TEXT_LIMIT),
            path=quoted(upgrade.path, CLIENT_TEXT_LIMIT),
            query=_of_query(upgrade),
            key=_of_key(upgrade),
        )

    def failed(self, peer: str, code: int, reason: str) -> None:
        """Logs a request that was rejected with HTTP status ``code`` before authentication."""
        self._counters.count("rejections", f"http-{code}")
        if code == HTTPStatus.INTERNAL_SERVER_ERROR:
            self._counters.count("internal_errors")
        line = "{peer} rejected: {code} {reason}{likely}{more}"
        reason, likely = loggable(reason, CLIENT_TEXT_LIMIT), _LIKELY.get(code, "")
        self._warn(f"http-{code}", line, peer=peer, code=code, reason=reason, likely=likely)

    def dropped(self, peer: str, reason: str) -> None:
        """Logs a connection that was dropped without a response."""
        self._counters.count("rejections", "dropped")
        self._warn(reason, "{peer} dropped: {reason}{more}", peer=peer, reason=loggable(reason, CLIENT_TEXT_LIMIT))

    def exceeded(self, peer: str, limit: str) -> None:
        """Logs a connection that was dropped because it exceeded ``limit``, and counts it by that limit."""
        self._counters.count("limit_hits", limit)
        self.dropped(peer, BEYOND.get(limit, limit))

    def _warn(self, kind: str, line: str, **fields: object) -> None:
        suppressed = self._rate_limit.admit(kind, self._clock.seconds())
        if suppressed is not None:
            more = f"; {suppressed} similar lines suppressed" if suppressed else ""
            self._log.warn(line, more=more, **fields)


def _of_query(upgrade: UpgradeInfo) -> str:
    _, mark, query = upgrade.target.partition("?")
    return f" and a query of {len(query)} characters" if mark else ""


def _of_key(upgrade: UpgradeInfo) -> str:
    key = upgrade.owner.key
    return f", API key {fingerprint(key)}" if key else ""
