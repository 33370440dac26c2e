"""Who was refused, and why: a number for each, and a line in the log for as many as one can read."""

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

#: What a proxy most often does wrong where no WebSocket is asked for.
_LIKELY: Final[Mapping[int, str]] = {
    HTTPStatus.UPGRADE_REQUIRED: ": a browser, a health check, or a proxy that passes on no Upgrade and Connection",
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED: ": a proxy that speaks HTTP/1.0 (nginx: proxy_http_version 1.1)",
}

#: Limits of one connection, as their settings are called.
BEYOND: Final[Mapping[str, str]] = {
    "handshake-timeout": "limits.handshake_timeout is over",
    "frames": "above limits.frames_per_second",
    "messages": "above limits.messages_per_second",
    "audio-bytes": "above limits.audio_bytes_per_second",
    "message-bytes": "above limits.message_bytes_per_second",
    "control-frames": "above limits.control_frames_per_second",
    "fragments": "above limits.fragments_per_second",
}


class RejectionLog:
    """For the reactor thread."""

    _log = Logger()

    def __init__(self, counters: Counters, clock: IReactorTime) -> None:
        self._counters = counters
        self._clock = clock
        self._floods = LogRateLimit()

    def unauthentic(self, upgrade: UpgradeInfo, reason: RejectionReason) -> None:
        """A request that was not authenticated. Its query stays out of the log: it may hold secrets."""
        self._counters.count("rejections", str(reason))
        self._warn(
            str(reason),
            "{peer} refused: {reason} (session {session}, Host {host}, path {path}{query}{key}){more}",
            peer=upgrade.peer,
            reason=str(reason),
            session=upgrade.session_id,
            host=quoted(upgrade.headers.get("host", ""), CLIENT_TEXT_LIMIT),
            path=quoted(upgrade.path, CLIENT_TEXT_LIMIT),
            query=_of_query(upgrade),
            key=_of_key(upgrade),
        )

    def failed(self, peer: str, code: int, reason: str) -> None:
        """A request that did not get as far as that."""
        self._counters.count("rejections", f"http-{code}")
        if code == HTTPStatus.INTERNAL_SERVER_ERROR:
            self._counters.count("internal_errors")
        line = "{peer} refused: {code} {reason}{likely}{more}"
        reason, likely = loggable(reason, CLIENT_TEXT_LIMIT), _LIKELY.get(code, "")
        self._warn(f"http-{code}", line, peer=peer, code=code, reason=reason, likely=likely)

    def dropped(self, peer: str, why: str) -> None:
        """A connection without any request."""
        self._counters.count("rejections", "dropped")
        self._warn(why, "{peer} dropped: {why}{more}", peer=peer, why=loggable(why, CLIENT_TEXT_LIMIT))

    def exceeded(self, peer: str, limit: str) -> None:
        """A connection that was too slow, or too quick: dropped, and counted by the limit that it was beyond."""
        self._counters.count("limit_hits", limit)
        self.dropped(peer, BEYOND.get(limit, limit))

    def _warn(self, kind: str, line: str, **fields: object) -> None:
        left_out = self._floods.admit(kind, self._clock.seconds())
        if left_out is not None:
            more = f"; {left_out} more like this are not shown" if left_out else ""
            self._log.warn(line, more=more, **fields)


def _of_query(upgrade: UpgradeInfo) -> str:
    _, mark, query = upgrade.target.partition("?")
    return f" and a query of {len(query)} characters" if mark else ""


def _of_key(upgrade: UpgradeInfo) -> str:
    key = upgrade.owner.key
    return f", API key {fingerprint(key)}" if key else ""
