"""A client and the daemon's connection to it, without a socket. Imports the server, as no other module here does."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from twisted.internet.task import Clock

from audiohookd.observe.counters import Counters
from audiohookd.protocol.product import Product
from audiohookd.protocol.timeouts import Timeouts
from audiohookd.session.driver import Connection, ServerContext
from audiohookd.session.fanout import RoutePlugins, Watcher
from audiohookd.session.registry import Registry
from audiohookd.testing.constants import (
    CONVERSATION_ID,
    HEADERS,
    ORGANIZATION_ID,
    PARTICIPANT,
    PATH,
    SESSION_ID,
    START,
)
from audiohookd.websocket.upgrade import read_upgrade


class RecordingWire:
    """Stands for the WebSocket of a Connection and records what the Connection sends."""

    def __init__(self) -> None:
        #: The sent messages, decoded.
        self.heard: list[dict[str, Any]] = []
        #: The sent audio, by message.
        self.audio: list[bytes] = []
        #: The calls of ``close`` and ``abort``, in order.
        self.ends: list[str] = []

    def send(self, message: bytes) -> None:
        """See :class:`audiohookd.session.wire.IWebSocket`."""
        self.heard.append(json.loads(message))

    def send_audio(self, data: bytes) -> None:
        """See :class:`audiohookd.session.wire.IWebSocket`."""
        self.audio.append(data)

    def close(self, why: str) -> None:
        """See :class:`audiohookd.session.wire.IWebSocket`."""
        self.ends.append("close")

    def abort(self) -> None:
        """See :class:`audiohookd.session.wire.IWebSocket`."""
        self.ends.append("abort")


class ScriptedClient:
    """A client and the daemon's connection to it, without a socket: a call in one test.

    It sends only what the test asks for, so it can also break the protocol.

    :param watchers: the plugins that observe the session, in the order of delivery.
    :param registry: the session registry. Clients that share a registry need one ``clock``, too.
    :param authentic: False for a request that authentication rejected.
    :param product: the product of the route.
    :param now: returns the date in seconds since the epoch; by default :data:`START` plus the time of ``clock``.
    """

    def __init__(
        self,
        *watchers: Watcher,
        clock: Clock | None = None,
        timers: Timeouts | None = None,
        registry: Registry | None = None,
        authentic: bool = True,
        now: Callable[[], float] | None = None,
        product: Product = Product.MONITOR,
    ) -> None:
        self.clock = clock or Clock()
        self.counters = Counters()
        # Not `registry or ...`: an empty registry is false.
        self.registry = Registry(self.clock, max_sessions=10, drain_timeout=60.0) if registry is None else registry
        self.wire = RecordingWire()
        self._said = 0
        now = now or (lambda: START + self.clock.seconds())
        routes = {PATH: RoutePlugins(watchers, product=product)}
        shared = ServerContext(self.clock, now, timers or Timeouts(), self.registry, self.counters, routes)
        upgrade = read_upgrade(PATH, HEADERS, "192.0.2.7")
        self.connection = Connection(shared, upgrade, self.wire, None if authentic else "unauthorized")

    def say(self, type_: str, parameters: Mapping[str, Any] | None = None, **envelope: Any) -> None:
        """Sends a protocol message. ``envelope`` overrides its valid members."""
        self._said += 1
        message = {
            "version": "2",
            "id": SESSION_ID,
            "type": type_,
            "seq": self._said,
            "serverseq": self.wire.heard[-1]["seq"] if self.wire.heard else 0,
            "position": "PT0S",
            "parameters": dict(parameters or {}),
        }
        self.connection.text(json.dumps(message | envelope).encode())

    def open(self, position: str = "PT0S", **parameters: Any) -> None:
        """Sends ``open`` with one offer, both channels in PCMU. ``parameters`` override its valid parameters."""
        offer = {"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000}
        request = {
            "organizationId": ORGANIZATION_ID,
            "conversationId": CONVERSATION_ID,
            "participant": msgspec.to_builtins(PARTICIPANT),
            "media": [offer],
            "language": "en-US",
        }
        self.say("open", request | parameters, position=position)

    def speak(self, audio: bytes) -> None:
        """Sends one binary message of audio."""
        self.connection.audio(audio)

    def close(self, reason: str = "end") -> None:
        """Sends ``close``."""
        self.say("close", {"reason": reason})

    def leave(self) -> None:
        """Ends or loses the connection, without ``close``."""
        self.connection.lost()

    @property
    def types(self) -> list[str]:
        """The types of all messages that the daemon sent, in order."""
        return [message["type"] for message in self.wire.heard]
