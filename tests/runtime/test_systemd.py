"""Notifications to systemd, over real sockets."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent

from audiohookd.runtime.systemd import EXTEND_BY, EXTEND_EVERY, Notifier, Readiness


@pytest.fixture
def systemd() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        yield channel


def told(systemd: socket.socket) -> list[str]:
    """All that came."""
    messages = []
    while True:
        try:
            messages.append(systemd.recv(4096).decode())
        except BlockingIOError:
            return messages


class TestNotifier:
    def test_tells_it_at_a_path(self, systemd: socket.socket, tmp_path: Path) -> None:
        systemd.bind(str(tmp_path / "notify"))
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")}).notify("READY=1\nSTATUS=taking calls")
        assert told(systemd) == ["READY=1\nSTATUS=taking calls"]

    def test_tells_it_at_an_abstract_address(self, systemd: socket.socket) -> None:
        systemd.bind(f"\0audiohookd/test/{os.getpid()}")
        Notifier({"NOTIFY_SOCKET": f"@audiohookd/test/{os.getpid()}"}).notify("READY=1")
        assert told(systemd) == ["READY=1"]

    @pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}])
    def test_without_systemd_says_nothing(self, environment: dict[str, str], logged: list[LogEvent]) -> None:
        Notifier(environment).notify("READY=1")
        assert logged == []

    @pytest.mark.parametrize("name", ["absent", "x" * 300])
    def test_a_systemd_that_does_not_listen_is_worth_a_warning(
        self, tmp_path: Path, logged: list[LogEvent], name: str
    ) -> None:
        Notifier({"NOTIFY_SOCKET": str(tmp_path / name)}).notify("READY=1")
        assert [event["log_level"].name for event in logged] == ["warn"]

    def test_a_systemd_that_does_not_read_does_not_block_us(
        self, systemd: socket.socket, tmp_path: Path, logged: list[LogEvent]
    ) -> None:
        systemd.bind(str(tmp_path / "notify"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})

        def fill() -> None:
            while not logged:
                notifier.notify("WATCHDOG=1")

        # In a thread: what blocks would never come back to say so.
        thread = threading.Thread(target=fill, daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        assert [event["log_level"].name for event in logged] == ["warn"]


class TestReadiness:
    @pytest.fixture(autouse=True)
    def service(self, systemd: socket.socket, tmp_path: Path) -> None:
        systemd.bind(str(tmp_path / "notify"))
        self.systemd = systemd
        self.clock = Clock()
        self.readiness = Readiness(self.clock, Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")}))

    def keys(self) -> list[str]:
        """The first assignment of each message."""
        return [message.splitlines()[0] for message in told(self.systemd)]

    def test_the_daemon_is_not_ready_before_its_start(self) -> None:
        assert not self.readiness.ready
        assert self.keys() == []

    def test_the_daemon_is_ready_from_its_start(self) -> None:
        self.readiness.startService()
        assert self.readiness.ready
        assert self.keys() == ["READY=1"]
        assert self.clock.getDelayedCalls() == []

    def test_the_daemon_is_not_ready_while_it_has_a_blocker(self) -> None:
        self.readiness.startService()
        told(self.systemd)
        self.readiness.set_blocker("disk", "less than 1024 MiB free")
        assert not self.readiness.ready
        self.readiness.set_blocker("disk", None)
        assert self.readiness.ready
        assert told(self.systemd) == [
            "STATUS=not taking calls: less than 1024 MiB free",
            "STATUS=taking calls",
        ]

    def test_the_daemon_is_not_ready_until_its_last_blocker_is_gone(self) -> None:
        self.readiness.startService()
        self.readiness.set_blocker("disk", "less than 1024 MiB free")
        self.readiness.set_blocker("keys", "no keys")
        assert self.readiness.blocker == "less than 1024 MiB free; no keys"
        self.readiness.set_blocker("disk", None)
        assert (self.readiness.ready, self.readiness.blocker) == (False, "no keys")
        self.readiness.set_blocker("keys", None)
        assert (self.readiness.ready, self.readiness.blocker) == (True, None)

    def test_starts_though_something_hinders_it(self) -> None:
        self.readiness.set_blocker("disk", "less than 1024 MiB free")
        assert told(self.systemd) == []
        self.readiness.startService()
        assert not self.readiness.ready
        assert told(self.systemd) == ["READY=1\nSTATUS=not taking calls: less than 1024 MiB free"]

    def test_a_daemon_with_a_warning_is_ready(self) -> None:
        self.readiness.warn("calls on '/' are not recorded")
        self.readiness.startService()
        assert self.readiness.ready
        assert self.readiness.warnings == ["calls on '/' are not recorded"]
        assert told(self.systemd) == ["READY=1\nSTATUS=taking calls; warning: calls on '/' are not recorded"]

    def test_a_line_break_in_an_obstacle_is_no_assignment_of_its_own(self) -> None:
        self.readiness.set_blocker("disk", "/spool\nSTOPPING=1\x1b[2J\udce9 is full")
        self.readiness.startService()
        status = r"STATUS=not taking calls: /spool\nSTOPPING=1\u001b[2J\udce9 is full"
        assert told(self.systemd) == [f"READY=1\n{status}"]

    def test_says_that_it_stops_whatever_hindered_it(self) -> None:
        self.readiness.startService()
        self.readiness.stopService()
        told(self.systemd)
        self.readiness.set_blocker("disk", "less than 1024 MiB free")
        self.readiness.set_blocker("disk", None)
        assert not self.readiness.ready
        assert told(self.systemd) == []

    def test_the_daemon_is_not_ready_from_its_stop(self) -> None:
        self.readiness.startService()
        self.keys()
        self.readiness.stopService()
        assert not self.readiness.ready
        assert self.keys() == ["STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(EXTEND_BY * 1_000_000)}"]

    def test_asks_for_more_time_again_and_again_and_long_before_the_last_is_over(self) -> None:
        assert EXTEND_EVERY * 2 < EXTEND_BY
        self.readiness.startService()
        self.readiness.stopService()
        self.keys()
        for _ in range(100):
            self.clock.advance(EXTEND_EVERY)
            assert self.keys() == ["EXTEND_TIMEOUT_USEC=60000000"]
