"""A plugin that sends entities: ``count`` of ``kind``, when the caller presses a key."""

from typing import Any

from msgspec import Struct
from zope.interface import implementer, provider

from audiohookd.interfaces import IDaemon, IPlugin, IPluginFactory, ISession
from audiohookd.observer import SessionObserver
from audiohookd.protocol.entities import SpeechStarted


class TalkingConfig(Struct, frozen=True):
    """What to send."""

    count: int


class Observer(SessionObserver):
    """Sends entities of an unknown type with a number, and one of speech."""

    def __init__(self, session: ISession, count: int) -> None:
        self._session = session
        self._count = count

    def dtmf(self, digit: str) -> None:
        self._session.send_event([SpeechStarted()])
        for number in range(self._count):
            entity: Any = {"type": "number", "data": number}
            assert self._session.send_event([entity])


@provider(IPluginFactory)
@implementer(IPlugin)
class Talking:
    """See the module."""

    config_type = TalkingConfig

    def __init__(self, config: TalkingConfig, daemon: IDaemon) -> None:
        self._count = config.count

    def observe(self, session: ISession) -> Observer:
        return Observer(session, self._count)
