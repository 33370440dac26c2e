"""One plugin's view of a session, with its own attributes and rate limits."""

from collections.abc import Callable, Mapping, Sequence
from threading import current_thread, get_ident
from traceback import extract_stack
from typing import Any, Final

import msgspec
from zope.interface import implementer

from audiohookd.interfaces import ISession, WrongThread
from audiohookd.protocol.entities import Entity, as_tuple
from audiohookd.protocol.messages import DisconnectReason
from audiohookd.runtime.token_bucket import Rate, TokenBucket

#: Events that one plugin may send in one session, per second and at once. 2,000 events of 3 KB in one callback made
#: the daemon drop the connection, because no client reads that fast, and filled the queue of the recorder.
EVENTS: Final = Rate(20.0, 100)
#: Bytes of these events.
EVENT_BYTES: Final = Rate(65_536.0, 262_144)
#: Requests to pause, and to resume. A resume after a pause of the same plugin is exempt: without it, audio is lost.
PAUSES: Final = Rate(1.0, 20)


@implementer(ISession)
class SessionView:
    """See :class:`ISession`. Only this plugin sees the attributes that it assigns.

    :param session: the PluginSession that all plugins share.
    :param plugin: the plugin's name.
    :param seconds: a monotonic clock, in seconds.
    :param limited: called for each message above a rate limit, which is not sent; with True the first time.
    :param misused: called with a text for the first misuse of each method, in the thread of the misuse.
    :param disconnected: called with reason and info when the plugin ends the session.
    """

    def __init__(
        self,
        session: Any,
        plugin: str,
        seconds: Callable[[], float],
        limited: Callable[[bool], None],
        misused: Callable[[str], object] = lambda _: None,
        disconnected: Callable[[str, str | None], object] = lambda *_: None,
    ) -> None:
        self._disconnected = disconnected
        self._misused = misused
        self._misuses: set[str] = set()
        self._thread = get_ident()
        self._is_over = False
        self._session = session
        self._plugin = plugin
        self._seconds = seconds
        self._limited = limited
        self._events = TokenBucket(EVENTS, seconds())
        self._event_bytes = TokenBucket(EVENT_BYTES, seconds())
        self._pauses = TokenBucket(PAUSES, seconds())
        self._resumes = TokenBucket(PAUSES, seconds())
        self._owes_resume = False
        self._has_refused = False
        self.missed_messages = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def end(self) -> None:
        """Marks that ``closed`` has finished: each further call of the plugin is a misuse."""
        self._is_over = True

    def send_event(self, entities: Sequence[Entity]) -> bool:
        """See :class:`ISession`."""
        self._check_use("send_event")
        entities = as_tuple(entities)
        now = self._seconds()
        if not (self._events.take(now) and self._event_bytes.take_all(now, _size(entities))):
            return self._refuse()
        return bool(self._session.send_event(entities, self._plugin))

    def pause(self) -> bool:
        """See :class:`ISession`."""
        self._check_use("pause")
        if not self._pauses.take(self._seconds()):
            return self._refuse()
        self._owes_resume = bool(self._session.pause())
        return self._owes_resume

    def resume(self) -> bool:
        """See :class:`ISession`."""
        self._check_use("resume")
        owed, self._owes_resume = self._owes_resume, False
        if not owed and not self._resumes.take(self._seconds()):
            return self._refuse()
        return bool(self._session.resume())

    def disconnect(
        self,
        reason: DisconnectReason = "completed",
        info: str | None = None,
        output_variables: Mapping[str, str] | None = None,
        after_playback: bool = False,
    ) -> bool:
        """See :class:`ISession`."""
        self._check_use("disconnect")
        is_sent = bool(self._session.disconnect(reason, info, output_variables, after_playback))
        if is_sent:
            self._disconnected(reason, info)
        return is_sent

    def send_audio(self, data: bytes, is_last: bool = False) -> bool:
        """See :class:`ISession`."""
        self._check_use("send_audio")
        return bool(self._session.send_audio(data, is_last))

    def barge_in(self) -> int:
        """See :class:`ISession`."""
        self._check_use("barge_in")
        if not self._events.take(self._seconds()):
            return int(self._refuse())
        return int(self._session.barge_in())

    def _check_use(self, method: str) -> None:
        """Reports a misuse of ``method``.

        :raises WrongThread: called outside the reactor thread; session and connection are not thread-safe.
        """
        if get_ident() != self._thread:
            text = f"{method} was called in thread {current_thread().name!r}, not in the reactor thread"
            self._misuse(method, f"{text}: it had no effect; use daemon.reactor.callFromThread")
            raise WrongThread(f"{text}: use daemon.reactor.callFromThread(session.{method}, ...)")
        if self._is_over:
            self._misuse(method, f"{method} was called after the session had ended: it had no effect")

    def _misuse(self, method: str, text: str) -> None:
        if method not in self._misuses:
            self._misuses.add(method)
            caller = extract_stack(limit=4)[0]
            self._misused(f"{text} ({caller.filename}:{caller.lineno})")

    def _refuse(self) -> bool:
        self._limited(not self._has_refused)
        self._has_refused = True
        return False


def _size(entities: Sequence[Entity]) -> int:
    """Size as JSON in bytes; 0 if the entities cannot be encoded, which the session rejects."""
    try:
        return len(msgspec.json.encode(entities))
    except (TypeError, ValueError, RecursionError):
        return 0
