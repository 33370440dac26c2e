"""The daemon under systemd: notifications (sd_notify(3)), readiness, and sockets that systemd has opened."""

import errno
import os
import pwd
import socket
from collections.abc import Mapping
from pathlib import Path

from twisted.application.service import Service
from twisted.internet import unix
from twisted.internet.defer import Deferred, execute
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.fdesc import setNonBlocking
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorTime, IStreamServerEndpoint
from twisted.logger import Logger
from zope.interface import implementer

from audiohookd.escaping import printable
from audiohookd.runtime.error_text import in_words
from audiohookd.runtime.loops import SupervisedLoop

#: Seconds between two requests for more time to stop.
EXTEND_EVERY = 10.0
#: Seconds that each of them requests.
EXTEND_BY = 60.0


def write_remedy(fault: OSError, directory: Path, environment: Mapping[str, str]) -> str:
    """Describes how to make ``directory`` writable; empty if there is no known remedy.

    :param environment: the process environment. systemd sets INVOCATION_ID, and its units can restrict writes.
    """
    if fault.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
        return ""
    remedies = []
    if fault.errno != errno.EROFS:
        is_there = directory.exists()
        command = f"chown -R {_user()}:" if is_there else f"install -d -m 0750 -o {_user()}"
        verb = "give it to" if is_there else "create it for"
        remedies.append(f"{verb} the user of the daemon ({command} {directory})")
    if "INVOCATION_ID" in environment:
        text = f"run systemctl edit audiohookd and add ReadWritePaths={directory} below [Service]"
        remedies.append(f"{text}, because the unit restricts where the daemon may write")
    return "".join(f"; {remedy}" for remedy in remedies)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


class Notifier:
    """Sends states to the socket in NOTIFY_SOCKET; does nothing without one."""

    _log = Logger()

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # systemd writes the name of an abstract socket with a leading @, the kernel expects a zero byte.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def notify(self, state: str) -> None:
        """Sends ``state`` (such as ``READY=1``). It does not block: it is a datagram to a local socket."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto(state.encode(), self._address)
        except OSError as error:
            self._log.warn("cannot notify systemd of {state}: {error}", state=state, error=in_words(error))


class Readiness(Service):
    """Tracks whether the daemon accepts new calls. It starts last and stops first of all services.

    From its stop until the end of the process it asks systemd for more time, because the other services limit their
    own stops.
    """

    name = "readiness"

    def __init__(self, clock: IReactorTime, notifier: Notifier) -> None:
        self._notifier = notifier
        self._extending = SupervisedLoop(clock, "stop-extension", self._extend, EXTEND_EVERY)
        self._obstacles: dict[str, str] = {}
        #: Warnings for the operator that do not prevent new calls.
        self.warnings: list[str] = []

    @property
    def ready(self) -> bool:
        """True if new calls are accepted."""
        return bool(self.running) and not self._obstacles

    @property
    def blocker(self) -> str | None:
        """Why no new calls should be sent here, for the operator; or None."""
        return "; ".join(self._obstacles.values()) or None

    def set_blocker(self, cause: str, obstacle: str | None) -> None:
        """Sets or clears a reason not to accept new calls. May be called before the start.

        :param cause: the part of the daemon that reports it; each cause has its own obstacle.
        :param obstacle: the reason, for the operator; None clears it.
        """
        self._obstacles.pop(cause, None)
        if obstacle is not None:
            self._obstacles[cause] = obstacle
        if self.running:
            self._notifier.notify(f"STATUS={self._status}")

    def warn(self, warning: str) -> None:
        """Adds a line to ``warnings`` until the process ends."""
        self.warnings.append(warning)

    def startService(self) -> None:
        """Notifies systemd that the daemon has started, even if it is not ready: systemd would time out the start."""
        super().startService()
        self._notifier.notify(f"READY=1\nSTATUS={self._status}")

    def stopService(self) -> None:
        """Notifies systemd that the daemon stops."""
        super().stopService()
        self._notifier.notify("STOPPING=1\nSTATUS=waiting for calls to end")
        self._extending.start()
        self._extending.run()

    @property
    def _status(self) -> str:
        state = "taking calls" if not self._obstacles else f"not taking calls: {self.blocker}"
        # A line break would start another assignment of sd_notify(3).
        return printable("; warning: ".join([state, *self.warnings]))

    def _extend(self) -> None:
        self._notifier.notify(f"EXTEND_TIMEOUT_USEC={int(EXTEND_BY * 1_000_000)}")


def as_inherited(endpoint: IStreamServerEndpoint) -> IStreamServerEndpoint:
    """Wraps an endpoint with an inherited Unix socket; returns any other endpoint unchanged."""
    if isinstance(endpoint, AdoptedStreamServerEndpoint) and endpoint.addressFamily == socket.AF_UNIX:
        return InheritedSocket(endpoint)
    return endpoint


@implementer(IStreamServerEndpoint)
class InheritedSocket:
    """An endpoint on a Unix socket that systemd has opened. It keeps the socket unit's settings, and can listen once.

    Twisted changes the mode of such a socket to 0666, which fails if root owns the file, and shortens its queue to
    50. When it stops, it shuts the socket down and removes its file, so that systemd cannot start the daemon by it
    again. It does not do so for TCP sockets.
    """

    def __init__(self, adopted: AdoptedStreamServerEndpoint) -> None:
        self._adopted = adopted

    def listen(self, protocolFactory: IProtocolFactory) -> "Deferred[IListeningPort]":
        """See :class:`IStreamServerEndpoint`."""
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        file = self._adopted.fileno
        setNonBlocking(file)
        port = unix.Port._fromListeningDescriptor(self._adopted.reactor, file, factory)
        # Twisted does not touch the file of a name that looks abstract. The name also appears in a log line.
        port._bindPath = b"\0" + port._bindPath
        port._shouldShutdown = False  # as it does with TCP
        port.backlog = socket.SOMAXCONN  # the kernel lowers it to net.core.somaxconn
        port.startListening()
        os.close(file)  # the port has a copy
        listening: IListeningPort = port
        return listening
