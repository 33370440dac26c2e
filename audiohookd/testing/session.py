"""A session without a connection."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType
from typing import Any

import msgspec
from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger

from audiohookd.protocol.entities import Entity
from audiohookd.protocol.media import Media
from audiohookd.protocol.messages import DisconnectReason, Open, Participant
from audiohookd.protocol.product import Product
from audiohookd.protocol.sending.rates import SendRates
from audiohookd.protocol.session import Session
from audiohookd.protocol.states import State
from audiohookd.protocol.timeouts import Timeouts
from audiohookd.session.connection_end import ConnectionEnd
from audiohookd.session.plugin_session import PluginSession
from audiohookd.session.session_view import SessionView
from audiohookd.testing.constants import (
    CONVERSATION_ID,
    HEADERS,
    ORGANIZATION_ID,
    PARTICIPANT,
    PATH,
    SESSION_ID,
    START,
    STEREO,
)
from audiohookd.websocket.upgrade import read_upgrade


class _ReadOnly:
    """An attribute that keeps a read-only copy of the assigned mapping, as in a real session."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        return instance.__dict__.get(self._name) if instance is not None else self

    def __set__(self, instance: Any, value: Mapping[str, Any]) -> None:
        copied = deepcopy(dict(value))
        frozen = {key: MappingProxyType(item) if key == "headers" else item for key, item in copied.items()}
        instance.__dict__[self._name] = MappingProxyType(frozen)


class FakeSession(SessionView):
    """An open session without a connection. A test can assign all attributes of :class:`ISession`.

    The methods have the checks and limits of a real session. They raise :class:`LocalProtocolError` for an invalid
    message and :class:`WrongThread` in another thread. They return False after the session has ended and beyond the
    rate limits of :class:`ISession`, which ``clock`` measures.

    * ``calls``: the calls that passed the checks, as ``(method, *arguments)`` in order
    * ``sent``: the messages that a client would receive, decoded
    * ``logged``: the log events of the session
    * ``misuses``: the texts that a daemon would log as a mistake of the plugin
    * ``answer``: False after the session has ended; assign False to end it
    """

    conversation_id: str
    product: Product
    participant: Participant
    media: Media | None
    language: str | None
    position: int
    start_position: int
    started_at: float
    connection_end: ConnectionEnd | None
    custom_config = _ReadOnly()
    input_variables = _ReadOnly()
    request = _ReadOnly()

    def __init__(self, media: Media | None = STEREO) -> None:
        self.clock = Clock()
        self.sent: list[dict[str, Any]] = []
        self.misuses: list[str] = []
        self._protocol = _open_session(media, self.clock)
        about = Open(ORGANIZATION_ID, CONVERSATION_ID, PARTICIPANT, (), language="en-US")
        live = PluginSession(self._protocol, read_upgrade(PATH, HEADERS, "192.0.2.7"), about, START, self._send)
        super().__init__(live, "plugin", self.clock.seconds, lambda _: None, self.misuses.append)
        self.custom_config, self.input_variables = {}, {}
        self.request = {"uri": PATH, "peer": "192.0.2.7", "headers": {}}
        self.logged: list[LogEvent] = []
        self.log = Logger(namespace="audiohookd.session", observer=self.logged.append)  # type: ignore[arg-type]
        self.calls: list[tuple[Any, ...]] = []

    @property
    def answer(self) -> bool:
        """False after the session has ended."""
        return self._protocol.state is State.OPEN

    @answer.setter
    def answer(self, is_open: bool) -> None:
        if is_open != self.answer:
            if is_open:
                raise ValueError("a session that has ended cannot be opened again: create another FakeSession")
            self._protocol.connection_lost()

    def send_event(self, entities: Sequence[Entity]) -> bool:
        """See :class:`ISession`."""
        sent = tuple(entities) if isinstance(entities, Iterable) else entities
        answer = super().send_event(sent if isinstance(entities, Iterator) else entities)
        return self._called(answer, "send_event", sent)

    def pause(self) -> bool:
        """See :class:`ISession`."""
        return self._called(super().pause(), "pause")

    def resume(self) -> bool:
        """See :class:`ISession`."""
        return self._called(super().resume(), "resume")

    def disconnect(
        self,
        reason: DisconnectReason = "completed",
        info: str | None = None,
        output_variables: Mapping[str, str] | None = None,
        after_playback: bool = False,
    ) -> bool:
        """See :class:`ISession`."""
        answer = super().disconnect(reason, info, output_variables, after_playback)
        return self._called(answer, "disconnect", reason, info, output_variables)

    def _send(self) -> None:
        self.sent += map(json.loads, self._protocol.take_outgoing())

    def _called(self, answer: bool, *call: Any) -> bool:
        self.calls.append(call)
        return answer


def _open_session(media: Media | None, clock: Clock) -> Session:
    """A session after the client's ``open`` and the daemon's ``opened``."""
    unlimited = SendRates(text_per_second=1_000, text_burst=10_000, pause_burst=10_000, resume_burst=10_000)
    session = Session(SESSION_ID, ORGANIZATION_ID, Timeouts(), clock.seconds, unlimited)
    participant = msgspec.to_builtins(PARTICIPANT)
    parameters = {"organizationId": ORGANIZATION_ID, "conversationId": CONVERSATION_ID, "participant": participant}
    parameters["media"] = []
    message = {"version": "2", "id": SESSION_ID, "type": "open", "seq": 1, "serverseq": 0, "position": "PT0S"}
    session.receive_text(json.dumps(message | {"parameters": parameters}).encode())
    session.accept(media)
    session.take_outgoing()
    return session
