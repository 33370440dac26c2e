"""The ISession that all plugins of a session share, and the logger of a session."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from msgspec import Raw, UnsetType
from twisted.logger import Logger
from zope.interface import implementer

from audiohookd.interfaces import ISession
from audiohookd.protocol.entities import Entity
from audiohookd.protocol.media import Media
from audiohookd.protocol.messages import DisconnectReason, Open, read_object
from audiohookd.protocol.product import Product
from audiohookd.protocol.session import Session
from audiohookd.session.connection_end import ConnectionEnd
from audiohookd.session.upgrade import UpgradeInfo


@implementer(ISession)
class PluginSession:
    """See :class:`ISession`. The identity is set only here, so that no later code can omit or replace it.

    :param pump: called after each request to the session, to send its messages.
    """

    def __init__(
        self,
        session: Session,
        upgrade: UpgradeInfo,
        request: Open,
        started_at: float,
        pump: Callable[[], None],
        product: Product = Product.MONITOR,
    ) -> None:
        self._session = session
        self._pump = pump
        self.id = session.id
        self.product = product
        self.organization_id = upgrade.organization_id
        self.correlation_id = upgrade.correlation_id
        self.conversation_id = request.conversation_id
        self.participant = request.participant
        self.language = request.language
        self.continued_sessions = tuple(session.id for session in request.continued_sessions or ())
        self._custom_config = _copied(request.custom_config)
        self._input_variables = _copied(request.input_variables)
        self.start_position = session.position
        self.started_at = started_at
        self.request = upgrade.shown()
        self.connection_end: ConnectionEnd | None = None
        self.missed_messages = 0  # each plugin's view counts its own
        self.log = SessionLogger(upgrade)

    @property
    def custom_config(self) -> Mapping[str, object]:
        """See :class:`ISession`. Decoded at each access: the text needs up to 50 times less memory."""
        return MappingProxyType(read_object(self._custom_config))

    @property
    def input_variables(self) -> Mapping[str, object]:
        """See :class:`ISession`. Decoded at each access, like ``custom_config``."""
        return MappingProxyType(read_object(self._input_variables))

    @property
    def media(self) -> Media | None:
        """See :class:`ISession`."""
        return self._session.media

    @property
    def position(self) -> int:
        """See :class:`ISession`."""
        return self._session.position

    def send_event(self, entities: Sequence[Entity], plugin: str = "") -> bool:
        """See :class:`ISession`."""
        return self._done(self._session.send_event(entities, plugin))

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
        after_playback: bool = False,
    ) -> bool:
        """See :class:`ISession`."""
        return self._done(self._session.disconnect(reason, info, output_variables, after_playback=after_playback))

    def send_audio(self, data: bytes, is_last: bool = False) -> bool:
        """See :class:`ISession`."""
        return self._done(self._session.send_audio(data, is_last))

    def barge_in(self) -> int:
        """See :class:`ISession`."""
        dropped = self._session.barge_in()
        self._pump()
        return dropped

    @property
    def waiting_audio(self) -> float:
        """See :class:`ISession`."""
        return self._session.waiting_audio

    def _done(self, sent: bool) -> bool:
        self._pump()
        return sent


def _copied(raw: Raw | UnsetType) -> Raw | UnsetType:
    """A copy without the rest of the message."""
    return raw.copy() if isinstance(raw, Raw) else raw


#: How many kinds of client errors the log of one session names.
MAX_KINDS = 20


class SessionLogger(Logger):
    """Adds the session, organization and correlation ids to each event; an event cannot override them.

    :param is_stranger: True for a rejected client: ``log_once`` then logs nothing.
    """

    def __init__(self, upgrade: UpgradeInfo, is_stranger: bool = False) -> None:
        super().__init__(namespace="audiohookd.session")
        self._logged: set[str] = set()
        self._limit = 0 if is_stranger else MAX_KINDS
        self._identity = {
            "session": upgrade.session_id,
            "organization": upgrade.organization_id,
            "correlation": upgrade.correlation_id,
        }

    def log_once(self, kind: str) -> bool:
        """Decides whether to log something that a client can repeat: True once per kind, for few kinds."""
        if kind in self._logged or len(self._logged) >= self._limit:
            return False
        self._logged.add(kind)
        return True

    def emit(self, level, format=None, **kwargs):  # type: ignore[no-untyped-def]  # noqa: A002
        """Emits an event with the ids of the session."""
        super().emit(level, f"{{session}} {format or ''}", **(kwargs | self._identity))
