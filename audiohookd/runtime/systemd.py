"""Word to systemd, and the daemon's readiness (sd_notify(3))."""

import errno
import os
import pwd
import socket
from collections.abc import Mapping
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from audiohookd.escaping import printable
from audiohookd.runtime.faults import in_words
from audiohookd.runtime.loops import SupervisedLoop

#: Seconds between two requests for more time to stop, and what each asks for.
EXTEND_EVERY = 10.0
EXTEND_BY = 60.0


def write_remedy(fault: OSError, directory: Path, environment: Mapping[str, str]) -> str:
    """What to do where ``directory`` cannot be written to; empty where nothing is known.

    :param environment: of the process. systemd sets INVOCATION_ID; its units can restrict where a service writes.
    """
    if fault.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
        return ""
    remedies = []
    if fault.errno != errno.EROFS:
        is_there = directory.exists()
        command = f"chown -R {_user()}:" if is_there else f"install -d -m 0750 -o {_user()}"
        verb = "give it to" if is_there else "make it for"
        remedies.append(f"{verb} the user of the daemon ({command} {directory})")
    if "INVOCATION_ID" in environment:
        text = f"run systemctl edit audiohookd and add ReadWritePaths={directory} below [Service]"
        remedies.append(f"{text}, for the unit lets the daemon write nowhere else")
    return "".join(f"; {remedy}" for remedy in remedies)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


class Notifier:
    """Sends states to the socket that NOTIFY_SOCKET names; without one, says nothing."""

    _log = Logger()

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # systemd writes an abstract socket with an @ in front, the kernel wants a zero byte there.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def notify(self, state: str) -> None:
        """Sends ``state`` (such as ``READY=1``). A datagram on a local socket: it does not block."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto(state.encode(), self._address)
        except OSError as fault:
            self._log.warn("systemd cannot be told {state}: {fault}", state=state, fault=in_words(fault))


class Readiness(Service):
    """Ready from its start, the last of all, to its stop, the first of all, unless something hinders it.

    From then on it asks systemd for more time until the process ends: the services below it bound their own stops.
    """

    name = "readiness"

    def __init__(self, clock: IReactorTime, notifier: Notifier) -> None:
        self._notifier = notifier
        self._extending = SupervisedLoop(clock, "stop-extension", self._extend, EXTEND_EVERY)
        self._obstacles: dict[str, str] = {}
        #: What the operator should know although new calls are accepted.
        self.warnings: list[str] = []

    @property
    def ready(self) -> bool:
        """New calls are welcome."""
        return bool(self.running) and not self._obstacles

    @property
    def obstacle(self) -> str | None:
        """Why no new call should be taken, for the sysadmin."""
        return "; ".join(self._obstacles.values()) or None

    def hinder(self, cause: str, obstacle: str | None) -> None:
        """No new call should be taken because of ``obstacle``; None: not any more. May come before the start.

        :param cause: who says so; causes do not replace each other.
        """
        self._obstacles.pop(cause, None)
        if obstacle is not None:
            self._obstacles[cause] = obstacle
        if self.running:
            self._notifier.notify(f"STATUS={self._status}")

    def warn(self, warning: str) -> None:
        """Adds a line of text to ``warnings``, for as long as the process runs."""
        self.warnings.append(warning)

    def startService(self) -> None:
        """The daemon has started. That is told to systemd whatever hinders: it would end a start that takes long."""
        super().startService()
        self._notifier.notify(f"READY=1\nSTATUS={self._status}")

    def stopService(self) -> None:
        """Not ready any more."""
        super().stopService()
        self._notifier.notify("STOPPING=1\nSTATUS=waiting for calls to end")
        self._extending.start()
        self._extending.run()

    @property
    def _status(self) -> str:
        state = "taking calls" if not self._obstacles else f"not taking calls: {self.obstacle}"
        # A line break would begin another assignment of sd_notify(3).
        return printable("; warning: ".join([state, *self.warnings]))

    def _extend(self) -> None:
        self._notifier.notify(f"EXTEND_TIMEOUT_USEC={int(EXTEND_BY * 1_000_000)}")
