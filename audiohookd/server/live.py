"""A session as its plugins see it."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from twisted.logger import Logger
from zope.interface import implementer

from audiohookd.interfaces import ISession
from audiohookd.protocol.entities import Entity
from audiohookd.protocol.media import Media
from audiohookd.protocol.messages import DisconnectReason, Open, read_custom_config
from audiohookd.protocol.session import Session
from audiohookd.server.connection_end import ConnectionEnd
from audiohookd.server.upgrade import Upgrade


@implementer(ISession)
class LiveSession:
    """See :class:`ISession`. Identity is bound here once: later code can neither forget nor forge it.

    :param pump: to be called after the session was asked to do something.
    """

    def __init__(
        self, session: Session, upgrade: Upgrade, request: Open, started_at: float, pump: Callable[[], None]
    ) -> None:
        self._session = session
        self._pump = pump
        self.id = session.id
        self.organization_id = upgrade.organization_id
        self.correlation_id = upgrade.correlation_id
        self.conversation_id = request.conversation_id
        self.participant = request.participant
        self.language = request.language
        # Read-only: all plugins of the session share them.
        self.custom_config: Mapping[str, object] = MappingProxyType(read_custom_config(request.custom_config))
        self.input_variables: Mapping[str, object] = MappingProxyType(request.input_variables or {})
        self.start_position = session.position
        self.started_at = started_at
        self.request = upgrade.shown()
        self.connection_end: ConnectionEnd | None = None
        self.missed_messages = 0  # each plugin's view counts its own
        self.log = SessionLogger(upgrade)

    @property
    def media(self) -> Media | None:
        """See :class:`ISession`."""
        return self._session.media

    @property
    def position(self) -> int:
        """See :class:`ISession`."""
        return self._session.position

    def send_event(self, entities: Sequence[Entity]) -> bool:
        """See :class:`ISession`."""
        return self._done(self._session.send_event(entities))

    def pause(self) -> bool:
        """See :class:`ISession`."""
        return self._done(self._session.pause())

    def resume(self) -> bool:
        """See :class:`ISession`."""
        return self._done(self._session.resume())

    def disconnect(
        self,
        reason: DisconnectReason = "completed",
        info: str | None = None,
        output_variables: Mapping[str, str] | None = None,
    ) -> bool:
        """See :class:`ISession`."""
        return self._done(self._session.disconnect(reason, info, output_variables))

    def _done(self, sent: bool) -> bool:
        self._pump()
        return sent


#: Kinds of things that a client does of which a session's log tells.
MOST_NEWS = 20


class SessionLogger(Logger):
    """Names the session in each line; a field of the same name in the event does not replace its identity.

    :param is_stranger: nothing of what he does is news.
    """

    def __init__(self, upgrade: Upgrade, is_stranger: bool = False) -> None:
        super().__init__(namespace="audiohookd.session")
        self._told: set[str] = set()
        self._room = 0 if is_stranger else MOST_NEWS
        self._identity = {
            "session": upgrade.session_id,
            "organization": upgrade.organization_id,
            "correlation": upgrade.correlation_id,
        }

    def is_news(self, what: str) -> bool:
        """Whether something that a client can do again and again is worth a line: each once, and not very many."""
        if what in self._told or len(self._told) >= self._room:
            return False
        self._told.add(what)
        return True

    def emit(self, level, format=None, **kwargs):  # type: ignore[no-untyped-def]  # noqa: A002
        """As Logger does."""
        super().emit(level, f"{{session}} {format or ''}", **(kwargs | self._identity))
