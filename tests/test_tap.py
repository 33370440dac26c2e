"""The tree that ``twistd audiohookd`` runs: what is in it, in which order, and how a start fails."""

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import IService, IServiceMaker, Service, ServiceMaker
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.plugin import IPlugin as ITwistedPlugin
from twisted.plugin import getPlugins
from zope.interface import implementer, provider

from audiohookd import tap
from audiohookd.config import ConfigError, load
from audiohookd.interfaces import IDaemon, IPlugin, IPluginFactory, ISession
from audiohookd.observer import SessionObserver
from audiohookd.runtime.services import OrderedServices
from audiohookd.server.websocket import AudioHookServerFactory
from audiohookd_plugins.recorder import RecorderConfig

KEYS = '{"an-api-key": "TXlTdXBlclNlY3JldA=="}'
PLAIN = """
    [auth]
    keys_file = "keys.json"
    [spool]
    directory = "spool"
"""
CORE_BELOW = ["spool-writer", "spool-finisher", "spool"]
CORE_ABOVE = ["admin", "listener", "sessions", "readiness", "second signal"]


@implementer(IListeningPort)
class Port:
    def __init__(self, reactor: "Reactor", number: int, factory: IProtocolFactory, interface: str) -> None:
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
    """Keeps a diary of its ports, and has some that are taken."""

    def __init__(self, *taken: int) -> None:
        super().__init__()
        self.taken = taken
        self.diary: list[str] = []
        self.ports: list[Port] = []

    def listenTCP(self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = "") -> Port:
        if port in self.taken:
            raise CannotListenError(interface, port, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))
        self.ports.append(Port(self, port, factory, interface))
        self.diary.append(f"listen {port}")
        return self.ports[-1]

    @property
    def listening(self) -> list[tuple[str, int]]:
        return [(port.interface, port.number) for port in self.ports]


@provider(IPluginFactory)
@implementer(IPlugin)
class Uploader(Service):
    """A plugin that is a service, too, and has a pool of its own."""

    config_type = RecorderConfig

    def __init__(self, config: RecorderConfig, daemon: IDaemon) -> None:
        self.pool = daemon.workers("upload", 1, 1)
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


UPLOADER = f'\n[plugins.uploader]\nuse = "{__name__}:Uploader"\n'


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration, and all that it needs."""

    def write(text: str = PLAIN) -> Path:
        (tmp_path / "keys.json").write_text(KEYS)
        (tmp_path / "audiohookd.toml").write_text(text)
        return tmp_path / "audiohookd.toml"

    return write


def build(path: Path, reactor: Reactor | None = None, **environment: str) -> OrderedServices:
    root = tap.build(load(path), path, reactor or Reactor(), environment)
    assert isinstance(root, OrderedServices)
    return root


def names(root: OrderedServices) -> list[str]:
    return [child.name for child in root]


def ask(port: Port, path: str) -> int:
    """The status that the admin site answers with."""
    protocol = port.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40_000))
    transport = StringTransport()
    protocol.makeConnection(transport)
    protocol.dataReceived(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return int(transport.value().split(b" ")[1])


class Call:
    """A call as the registry knows it, which goes on until it is hung up."""

    def __init__(self) -> None:
        self.finished: Deferred[None] = Deferred()
        self.asked: list[str] = []

    def shut_down(self) -> None:
        self.asked.append("shut down")

    def abort(self) -> None:
        self.asked.append("abort")
        self.finished.callback(None)


class TestTheTree:
    def test_has_these_services_in_this_order(self, write: Callable[..., Path]) -> None:
        assert names(build(write())) == CORE_BELOW + CORE_ABOVE

    def test_has_plugins_between_what_they_need_and_what_needs_them(self, write: Callable[..., Path]) -> None:
        root = build(write(PLAIN + "[plugins.recorder]\n" + UPLOADER))
        assert names(root) == [*CORE_BELOW, "plugin-upload", "plugins.uploader", *CORE_ABOVE]

    def test_takes_one_plugin_twice(self, write: Callable[..., Path]) -> None:
        with pytest.raises(ConfigError, match=r"plugins\.second: .* there is a worker pool 'upload' already\Z"):
            build(write(PLAIN + UPLOADER + UPLOADER.replace("plugins.uploader", "plugins.second")))

    def test_a_plugin_may_be_called_as_a_part_of_the_daemon_is(self, write: Callable[..., Path]) -> None:
        root = build(write(PLAIN + UPLOADER.replace("plugins.uploader", "plugins.spool")))
        assert names(root) == [*CORE_BELOW, "plugin-upload", "plugins.spool", *CORE_ABOVE]

    def test_can_do_without_the_admin_port(self, write: Callable[..., Path]) -> None:
        reactor = Reactor()
        root = build(write(PLAIN + "[admin]\nendpoint = ''"), reactor)
        root.startService()
        assert names(root) == [*CORE_BELOW, "listener", "sessions", "readiness", "second signal"]
        assert reactor.listening == [("127.0.0.1", 3000)]

    def test_makes_the_spool_before_it_starts(self, write: Callable[..., Path], tmp_path: Path) -> None:
        build(write())
        assert {path.name for path in (tmp_path / "spool").iterdir()} == {"draft", "ready"}

    def test_opens_no_port_before_it_starts(self, write: Callable[..., Path]) -> None:
        reactor = Reactor()
        build(write(), reactor)
        assert reactor.diary == []

    def test_the_limits_of_the_file_reach_the_factory(self, write: Callable[..., Path]) -> None:
        reactor = Reactor()
        routes = '[[route]]\npath = "/a"\nplugins = ["uploader"]\n[[route]]\npath = "/b"\nplugins = []\n'
        text = PLAIN + '[listen]\nmax_sessions = 10\n[session]\nidle_timeout = 7\n' + UPLOADER + routes
        build(write(text), reactor).startService()
        factory = reactor.ports[-1].factory
        assert isinstance(factory, AudioHookServerFactory)
        assert factory.maxConnections > 10
        assert factory.shared.timers.idle_timeout == 7
        watched = {path: [watcher.name for watcher in watchers] for path, watchers in factory.shared.routes.items()}
        assert watched == {"/a": ["uploader"], "/b": []}
        assert factory.door.authenticator.keys.lookup("an-api-key") == b"MySuperSecret"


class TestStart:
    def test_is_from_below(self, write: Callable[..., Path]) -> None:
        reactor = Reactor()
        root = build(write(PLAIN + UPLOADER), reactor)
        root.startService()
        assert reactor.diary == ["start uploader", "listen 3001", "listen 3000"]
        assert reactor.listening == [("127.0.0.1", 3001), ("127.0.0.1", 3000)]
        assert all(child.running for child in root)

    def test_is_told_to_systemd_when_all_listen(self, write: Callable[..., Path], tmp_path: Path) -> None:
        reactor = Reactor()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(tmp_path / "notify"))
            systemd.setblocking(False)
            root = build(write(), reactor, NOTIFY_SOCKET=str(tmp_path / "notify"))
            with pytest.raises(BlockingIOError):
                systemd.recv(100)
            root.startService()
            assert systemd.recv(100).startswith(b"READY=1\n")

    def test_makes_it_ready(self, write: Callable[..., Path]) -> None:
        reactor = Reactor()
        build(write(), reactor).startService()
        assert [ask(reactor.ports[0], path) for path in ("/live", "/ready", "/health/check")] == [200, 200, 200]


class TestStop:
    @pytest.fixture
    def reactor(self) -> Reactor:
        return Reactor()

    @pytest.fixture
    def root(self, write: Callable[..., Path], reactor: Reactor) -> OrderedServices:
        root = build(write(PLAIN + UPLOADER + "[shutdown]\ndrain_timeout = 100"), reactor)
        root.startService()
        reactor.diary.clear()
        return root

    @pytest.fixture
    def call(self, root: OrderedServices) -> Call:
        call = Call()
        registry = root.getServiceNamed("sessions")
        registry.add(call)
        assert registry.admit(call) is None
        return call

    def stopping(self, root: OrderedServices) -> list[Any]:
        """Gets an item when the stop is done."""
        done: list[Any] = []
        maybeDeferred(root.stopService).addCallback(done.append)
        return done

    def test_is_from_above(self, root: OrderedServices, reactor: Reactor) -> None:
        done = self.stopping(root)
        assert done == [None]
        assert reactor.diary == ["close 3000", "close 3001", "stop uploader"]
        assert not any(child.running for child in root)

    def test_lets_calls_finish_while_others_are_told_to_come_again(
        self, root: OrderedServices, reactor: Reactor, call: Call
    ) -> None:
        done = self.stopping(root)
        reactor.advance(99)
        assert done == reactor.diary == call.asked == []
        assert root.getServiceNamed("sessions").admit(Call()) == "server is shutting down"
        call.finished.callback(None)
        assert done == [None]
        assert reactor.diary == ["close 3000", "close 3001", "stop uploader"]

    def test_answers_that_it_is_alive_and_not_ready_meanwhile(
        self, root: OrderedServices, reactor: Reactor, call: Call
    ) -> None:
        self.stopping(root)
        assert [ask(reactor.ports[0], path) for path in ("/live", "/ready", "/health/check")] == [200, 503, 503]
        call.finished.callback(None)

    def test_ends_the_calls_that_do_not(self, root: OrderedServices, reactor: Reactor, call: Call) -> None:
        done = self.stopping(root)
        reactor.advance(100)
        assert call.asked == ["shut down"]
        assert done == []
        reactor.pump([10, 10])
        assert call.asked == ["shut down", "abort"]
        assert done == [None]

    def test_the_registry_is_granted_the_time_it_needs(self, root: OrderedServices) -> None:
        assert root.getServiceNamed("sessions").stop_limit >= 100


class Refusal:
    """A start that failed: its status, and what the sysadmin reads."""

    def __init__(self, capsys: pytest.CaptureFixture[str], attempt: Callable[[], object]) -> None:
        with pytest.raises(SystemExit) as caught:
            attempt()
        self.status = caught.value.code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.endswith("\n")
        assert len(err.splitlines()) == 1
        assert err.startswith("audiohookd: ")
        self.line = err.removeprefix("audiohookd: ").rstrip("\n")


def options(path: Path | str) -> tap.Options:
    parsed = tap.Options()
    parsed.parseOptions(["--config", str(path)])
    return parsed


class TestAStartThatFails:
    @pytest.mark.parametrize(("port", "name"), [(3000, "listener"), (3001, "admin")])
    def test_port_in_use(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str], port: int, name: str
    ) -> None:
        refusal = Refusal(capsys, build(write(), Reactor(port)).startService)
        assert refusal.status == 1
        assert refusal.line == f"{name}: cannot listen on tcp:{port}:interface=127.0.0.1: Address already in use"

    def test_plugin_whose_service_does_not_start(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        reactor = Reactor()
        root = build(write(PLAIN + UPLOADER.replace(":Uploader", ":Stillborn")), reactor)
        refusal = Refusal(capsys, root.startService)
        assert refusal.status == 1
        assert refusal.line == "plugins.uploader: PermissionError: [Errno 13] Permission denied: '/var/lib/uploads'"
        assert reactor.diary == []

    @pytest.mark.parametrize(
        "endpoint", ["foo:3000", "tcp", "tcp:http", "tcp:1:interface=::1", "tcp:1:x=y", "systemd:domain=INET:index=9"]
    )
    @pytest.mark.parametrize("table", ["listen", "admin"])
    def test_endpoint_that_is_none(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str], table: str, endpoint: str
    ) -> None:
        path = write(PLAIN + f"[{table}]\nendpoint = '{endpoint}'")
        refusal = self.refused(capsys, path)
        assert refusal.status == 78
        assert refusal.line.startswith(
            f"{path}: {table}.endpoint: {endpoint!r} is no endpoint such as 'tcp:3000:interface=127.0.0.1' ("
        )

    def test_no_key_file(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        path = write(PLAIN.replace("keys.json", "absent.json"))
        refusal = self.refused(capsys, path)
        assert refusal.status == 78
        assert refusal.line.startswith(f"{path}: auth.keys_file: '{tmp_path}/absent.json': cannot be read (No such")

    def test_unreadable_key_file(self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
        path = write(PLAIN.replace("keys.json", "."))
        refusal = self.refused(capsys, path)
        assert refusal.status == 78
        assert "cannot be read (Is a directory)" in refusal.line

    @pytest.mark.parametrize("keys", ["", "[]", '{"a": 1}', '{"a": "not base64!"}', "{\n\n"])
    def test_key_file_that_is_none(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path, keys: str
    ) -> None:
        path = write()
        (tmp_path / "keys.json").write_text(keys)
        refusal = self.refused(capsys, path)
        assert refusal.status == 78
        assert refusal.line.startswith(f"{path}: auth.keys_file: '{tmp_path}/keys.json': ")

    @pytest.mark.parametrize("directory", ["keys.json", "/proc/audiohookd", "keys.json/spool"])
    def test_spool_that_cannot_be_written(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str], directory: str
    ) -> None:
        path = write(PLAIN.replace('"spool"', f'"{directory}"'))
        refusal = self.refused(capsys, path)
        assert refusal.status == 78
        assert refusal.line.startswith(f"{path}: spool.directory: {path.parent / directory} cannot be written: ")

    def test_plugin_that_is_not_installed(
        self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = write(PLAIN + "[plugins.recordr]")
        refusal = self.refused(capsys, path)
        assert refusal.status == 78
        assert refusal.line.startswith(f"{path}: plugins.recordr: no plugin of this name is installed")

    def test_mistake_in_the_file(self, write: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
        path = write(PLAIN + "[lsten]")
        refusal = Refusal(capsys, lambda: options(path))
        assert refusal.status == 78
        assert refusal.line == f"{path}: lsten: unknown key, did you mean 'listen'?"

    def test_no_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        refusal = Refusal(capsys, lambda: options(tmp_path / "absent.toml"))
        assert refusal.status == 78
        assert refusal.line.startswith(f"{tmp_path}/absent.toml: cannot be read (No such file or directory)")

    @staticmethod
    def refused(capsys: pytest.CaptureFixture[str], path: Path) -> Refusal:
        """What twistd does up to the start, with nothing said until the last step."""
        parsed = options(path)
        assert capsys.readouterr() == ("", "")
        return Refusal(capsys, lambda: tap.makeService(parsed))


class TestCommandLine:
    def test_a_relative_path_is_made_absolute_before_twistd_goes_elsewhere(
        self, write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write()
        monkeypatch.chdir(tmp_path)
        parsed = options("audiohookd.toml")
        monkeypatch.chdir("/")
        assert parsed["config"] == tmp_path / "audiohookd.toml"
        assert parsed["tree"].spool.directory == tmp_path / "spool"
        service = tap.makeService(parsed)
        assert IService.providedBy(service)
        assert names(service) == CORE_BELOW + CORE_ABOVE

    def test_short_option(self, write: Callable[..., Path]) -> None:
        parsed = tap.Options()
        parsed.parseOptions(["-c", str(write())])
        assert parsed["tree"].listen.max_sessions == 1000

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            tap.Options().parseOptions(["--version"])
        assert caught.value.code == 0
        assert capsys.readouterr().out.startswith("audiohookd ")

    def test_twistd_knows_the_command(self) -> None:
        found = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "audiohookd"]
        assert found
        assert all(isinstance(maker, ServiceMaker) and ITwistedPlugin.providedBy(maker) for maker in found)
        assert found[0].options is tap.Options
