"""The service tree of ``twistd audiohookd``: its services, and the order in which they start and stop."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import maybeDeferred

from audiohookd.auth.keys.model import Key
from audiohookd.runtime.services import OrderedServices
from audiohookd.spool.disk_monitor import PROBE_INTERVAL
from audiohookd.websocket.protocol import AudioHookServerFactory
from tests.tap_rig import (
    CORE_ABOVE,
    CORE_BELOW,
    PLAIN,
    UPLOADER,
    Call,
    Reactor,
    ask,
    build,
    names,
    page,
    today,
    writer,
)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    return writer(tmp_path)


class TestTheTree:
    def test_has_these_services_in_this_order(self, write: Callable[..., Path]) -> None:
        assert names(build(write())) == CORE_BELOW + CORE_ABOVE

    def test_has_plugins_between_what_they_need_and_what_needs_them(self, write: Callable[..., Path]) -> None:
        root = build(write(PLAIN + "[plugins.recorder]\n" + UPLOADER))
        assert names(root) == [*CORE_BELOW, "plugins.uploader/upload", "plugins.uploader", *CORE_ABOVE]

    def test_takes_one_class_in_two_tables(self, write: Callable[..., Path]) -> None:
        root = build(write(PLAIN + UPLOADER + UPLOADER.replace("plugins.uploader", "plugins.second")))
        first = ["plugins.uploader/upload", "plugins.second/upload", "plugins.uploader", "plugins.second"]
        assert names(root) == [*CORE_BELOW, *first, *CORE_ABOVE]

    def test_a_plugin_may_be_called_as_a_part_of_the_daemon_is(self, write: Callable[..., Path]) -> None:
        root = build(write(PLAIN + UPLOADER.replace("plugins.uploader", "plugins.spool")))
        assert names(root) == [*CORE_BELOW, "plugins.spool/upload", "plugins.spool", *CORE_ABOVE]

    def test_can_do_without_the_admin_port(self, write: Callable[..., Path]) -> None:
        reactor = Reactor()
        root = build(write(PLAIN + "[admin]\nendpoint = ''"), reactor)
        root.startService()
        assert names(root) == [*CORE_BELOW, *(name for name in CORE_ABOVE if name not in ("explainer", "admin"))]
        assert reactor.listening == [("127.0.0.1", 3000)]

    def test_makes_the_spool_before_it_starts(self, write: Callable[..., Path], tmp_path: Path) -> None:
        build(write())
        assert {path.name for path in (tmp_path / "spool").iterdir()} == {"draft", "ready", "lock"}

    def test_opens_no_port_before_it_starts(self, write: Callable[..., Path]) -> None:
        reactor = Reactor()
        build(write(), reactor)
        assert reactor.diary == []

    def test_the_limits_of_the_file_reach_the_factory(self, write: Callable[..., Path]) -> None:
        reactor = Reactor()
        routes = '[[route]]\npath = "/a"\nplugins = ["uploader"]\n[[route]]\npath = "/b"\nplugins = []\n'
        text = PLAIN + "[listen]\nmax_sessions = 10\n[session]\nidle_timeout = 7\n" + UPLOADER + routes
        build(write(text), reactor).startService()
        factory = reactor.ports[-1].factory
        assert isinstance(factory, AudioHookServerFactory)
        assert factory.shared.timers.idle_timeout == 7
        assert factory.shared.now is today
        watched = {
            path: [watcher.name for watcher in route.watchers] for path, route in factory.shared.routes.items()
        }
        assert watched == {"/a": ["uploader"], "/b": []}
        assert factory.policy.authenticator.keys.lookup("an-api-key") == Key((b"MySuperSecretKey",))


class TestStart:
    def test_services_start_from_the_bottom(self, write: Callable[..., Path]) -> None:
        reactor = Reactor()
        root = build(write(PLAIN + UPLOADER), reactor)
        root.startService()
        assert reactor.diary == ["start uploader", "listen 3001", "listen 3000"]
        assert reactor.listening == [("127.0.0.1", 3001), ("127.0.0.1", 3000)]
        assert all(child.running for child in root)

    def test_systemd_is_notified_when_all_ports_listen(self, write: Callable[..., Path], tmp_path: Path) -> None:
        reactor = Reactor()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(tmp_path / "notify"))
            systemd.setblocking(False)
            root = build(write(), reactor, NOTIFY_SOCKET=str(tmp_path / "notify"))
            with pytest.raises(BlockingIOError):
                systemd.recv(100)
            root.startService()
            assert systemd.recv(100).startswith(b"READY=1\n")

    def test_the_daemon_is_ready_after_the_start(self, write: Callable[..., Path]) -> None:
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
        """A list that gets an item when the stop is complete."""
        done: list[Any] = []
        maybeDeferred(root.stopService).addCallback(done.append)
        return done

    def test_services_stop_from_the_top(self, root: OrderedServices, reactor: Reactor) -> None:
        done = self.stopping(root)
        reactor.run_until(lambda: done)
        assert done == [None]
        assert reactor.diary == ["close 3000", "close 3001", "stop uploader"]
        assert not any(child.running for child in root)

    def test_calls_finish_while_new_ones_are_asked_to_retry(
        self, root: OrderedServices, reactor: Reactor, call: Call
    ) -> None:
        done = self.stopping(root)
        reactor.advance(99)
        assert done == reactor.diary == call.asked == []
        assert root.getServiceNamed("sessions").admit(Call()).info == "server is shutting down"
        call.finished.callback(None)
        reactor.run_until(lambda: done)
        assert done == [None]
        assert reactor.diary == ["close 3000", "close 3001", "stop uploader"]

    def test_the_daemon_is_alive_and_not_ready_during_the_drain(
        self, root: OrderedServices, reactor: Reactor, call: Call
    ) -> None:
        self.stopping(root)
        assert [ask(reactor.ports[0], path) for path in ("/live", "/ready", "/health/check")] == [200, 503, 503]
        said = "not ready: draining for 0 s, 1 session remains, which is closed in 100 s\n"
        assert f"\r\n\r\n{said}" in page(reactor.ports[0], "/ready")
        call.finished.callback(None)

    def test_calls_that_do_not_finish_are_ended(self, root: OrderedServices, reactor: Reactor, call: Call) -> None:
        done = self.stopping(root)
        reactor.advance(100)
        assert call.asked == ["shut down"]
        assert done == []
        reactor.pump([12, 12])
        assert call.asked == ["shut down", "abort"]
        reactor.run_until(lambda: done)
        assert done == [None]

    def test_the_registry_is_granted_the_time_it_needs(self, root: OrderedServices) -> None:
        """Clients have `disconnect_timeout` seconds to close, and are not aborted before."""
        assert root.getServiceNamed("sessions").stop_limit > 100 + 10 + 10


class TestSpool:
    """The free space for recordings, and the lock of the spool."""

    def test_new_calls_are_rejected_without_free_space(self, write: Callable[..., Path]) -> None:
        reactor = Reactor()
        root = build(write(PLAIN + "min_free = '976562500 GiB'"), reactor)
        root.startService()
        assert root.getServiceNamed("sessions").admit(object()).info == "no room for recordings"
        assert not root.getServiceNamed("readiness").ready

    def test_a_removed_lock_file_is_created_again(self, write: Callable[..., Path], tmp_path: Path) -> None:
        reactor = Reactor()
        root = build(write(), reactor)
        root.startService()
        (tmp_path / "spool" / "lock").unlink()
        reactor.advance(PROBE_INTERVAL)
        reactor.run_until((tmp_path / "spool" / "lock").exists)
        assert root.getServiceNamed("disk-watch").not_ready_reason is None
