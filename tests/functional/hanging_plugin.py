"""A plugin that hangs where its table says: ``dtmf``, ``closed``, ``stop``, ``pool``, ``block`` or ``thread``."""

import time
from threading import Event
from typing import Any

from msgspec import Struct
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from zope.interface import implementer, provider

from audiohookd.interfaces import IDaemon, IPlugin, IPluginFactory, ISession
from audiohookd.observer import SessionObserver


class HangingConfig(Struct, frozen=True):
    """The place in which the plugin hangs."""

    at: str


class Observer(SessionObserver):
    """Never finishes ``closed`` if the plugin hangs there."""

    def __init__(self, at: str) -> None:
        self._at = at

    def dtmf(self, digit: str) -> None:
        if self._at == "dtmf":
            time.sleep(600)

    def closed(self, reason: str) -> Any:
        return Deferred() if self._at == "closed" else None


@provider(IPluginFactory)
@implementer(IPlugin)
class Hanging(Service):
    """See the module."""

    config_type = HangingConfig

    def __init__(self, config: HangingConfig, daemon: IDaemon) -> None:
        self._at = config.at
        self._daemon = daemon
        self._pool = daemon.workers("hanging", 1, 1)

    def observe(self, session: ISession) -> Observer:
        if self._at == "pool":
            self._pool.do(Event().wait)
        if self._at == "thread":
            self._daemon.reactor.callInThread(Event().wait)
        return Observer(self._at)

    def stopService(self) -> Any:
        super().stopService()
        if self._at == "block":
            time.sleep(600)
        return Deferred() if self._at == "stop" else None
