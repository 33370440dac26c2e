"""A configuration, plugins and a reactor for tests of the service tree of ``twistd audiohookd``."""

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from msgspec import Struct
from twisted.application.service import Service
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.testing import MemoryReactorClock, StringTransport
from zope.interface import implementer, provider

from audiohookd import tap
from audiohookd.application.build import build as build_root
from audiohookd.config.load import load
from audiohookd.interfaces import (
    ICarrier,
    IDaemon,
    INotifier,
    IPlugin,
    IPluginFactory,
    IRecording,
    ISession,
)
from audiohookd.observer import SessionObserver
from audiohookd.runtime.services import OrderedServices
from audiohookd.testing import START
from audiohookd_plugins.recorder import RecorderConfig

KEYS = '{"an-api-key": "TXlTdXBlclNlY3JldEtleQ=="}'
PLAIN = """
    [auth]
    keys_file = "keys.json"
    [spool]
    directory = "spool"
"""
CORE_BELOW = ["loop-supervisor", "spool-writer", "spool-finisher", "spool-syncer", "disk-looker", "spool-sweeper"]
CORE_BELOW += ["delivery", "key-loaders", "spool", "watchdog", "unhandled-errors"]
CORE_ABOVE = ["deliveries", "retention", "disk-watch", "keyring"]
CORE_ABOVE += ["explainer", "admin", "listener", "sessions", "readiness", "signals"]


@implementer(IListeningPort)
class Port:
    def __init__(self, reactor: "Reactor", number: int, factory: Any, interface: str) -> None:
        self.number = number
        self.factory = factory
        self.interface = interface
        self._reactor = reactor

    def startListening(self) -> None:
        raise NotImplementedError

    def stopListening(self) -> "Deferred[None]":
        self._reactor.ports.remove(self)
        self._reactor.diary.append(f"close {self.number}")
        return succeed(None)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", self.interface, self.number)


class Reactor(MemoryReactorClock):
    """A reactor in memory that records its ports. Some ports are in use. Threads may call it."""

    def __init__(self, *taken: int) -> None:
        super().__init__()
        self.taken = taken
        self.diary: list[str] = []
        self.ports: list[Port] = []
        self._from_threads: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def listenTCP(self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = "") -> Port:
        if port in self.taken:
            raise CannotListenError(interface, port, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))
        self.ports.append(Port(self, port, factory, interface))
        self.diary.append(f"listen {port}")
        return self.ports[-1]

    def callFromThread(self, call: Callable[..., object], *arguments: Any, **options: Any) -> None:
        self._from_threads.put(partial(call, *arguments, **options))

    def run_until(self, condition: Callable[[], object]) -> None:
        """Runs the calls from threads until the condition is true."""
        while not condition():
            self._from_threads.get(timeout=30)()

    @property
    def listening(self) -> list[tuple[str, int]]:
        return [(port.interface, port.number) for port in self.ports]


@provider(IPluginFactory)
@implementer(IPlugin)
class Uploader(Service):
    """A plugin that is also a service, with a thread pool."""

    config_type = RecorderConfig

    def __init__(self, config: RecorderConfig, daemon: IDaemon) -> None:
        self.pool: Any = daemon.workers("upload", 1, 1)
        self.diary: list[str] = daemon.reactor.diary

    def startService(self) -> None:
        super().startService()
        assert self.pool.running
        self.diary.append("start uploader")

    def stopService(self) -> None:
        super().stopService()
        assert self.pool.running
        self.diary.append("stop uploader")

    def observe(self, session: ISession) -> SessionObserver:
        return SessionObserver()


@provider(IPluginFactory)
class Stillborn(Uploader):
    def startService(self) -> None:
        raise OSError(errno.EACCES, "Permission denied", "/var/lib/uploads")


class StoreConfig(Struct, frozen=True):
    concurrency: int = 2


@provider(IPluginFactory)
@implementer(IPlugin, ICarrier, INotifier)
class Store:
    """A carrier and notifier that records its calls."""

    config_type = StoreConfig

    def __init__(self, config: StoreConfig, daemon: IDaemon) -> None:
        self.concurrency = config.concurrency
        self.diary: list[str] = daemon.reactor.diary

    def observe(self, session: ISession) -> None:
        return None

    def carry(self, recording: IRecording) -> dict[str, int]:
        self.diary.append(f"carry {recording.id}")
        return {"bytes": recording.audio.stat().st_size}

    def notify(self, recording: IRecording) -> None:
        self.diary.append(f"notify {recording.id}: {recording.receipts()['store']['bytes']} bytes")


STORE = f'\n[plugins.store]\nclass = "{__name__}:Store"\n'
UPLOADER = f'\n[plugins.uploader]\nclass = "{__name__}:Uploader"\n'


def writer(directory: Path) -> Callable[..., Path]:
    """Writes a configuration, and all files that it names, into ``directory``."""

    def write(text: str = PLAIN) -> Path:
        (directory / "keys.json").touch(0o600)
        (directory / "keys.json").write_text(KEYS)
        (directory / "audiohookd.toml").write_text(text)
        return directory / "audiohookd.toml"

    return write


def today() -> float:
    """A fixed wall clock, in UNIX seconds."""
    return START


def build(
    path: Path, reactor: Reactor | None = None, now: Callable[[], float] = today, **environment: str
) -> OrderedServices:
    root = build_root(load(path), path, reactor or Reactor(), now, environment)
    assert isinstance(root, OrderedServices)
    return root


def names(root: OrderedServices) -> list[str]:
    return [child.name for child in root]


def ask(port: Port, path: str) -> int:
    """The status of the admin site's response."""
    return int(page(port, path).split(" ")[1])


def page(port: Port, path: str) -> str:
    """The whole response of the admin site."""
    protocol = port.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40_000))
    transport = StringTransport()
    protocol.makeConnection(transport)
    protocol.dataReceived(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    return str(transport.value(), "utf-8")


class Call:
    """A call in the registry that continues until it is shut down."""

    def __init__(self) -> None:
        self.finished: Deferred[None] = Deferred()
        self.unfinished: list[str] = []
        self.asked: list[str] = []

    def start_draining(self) -> None:
        """Its route allows no reconnect."""

    def shut_down(self) -> None:
        self.asked.append("shut down")

    def abort(self) -> None:
        self.asked.append("abort")
        self.finished.callback(None)


def options(path: Path | str) -> tap.Options:
    parsed = tap.Options()
    parsed.parseOptions(["--config", str(path)])
    return parsed
