"""The top of the service tree."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from twisted.application.service import IServiceCollection
from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, Logger, globalLogPublisher
from twisted.python.components import Componentized

from audiohookd import __version__
from audiohookd.auth.keys.keyring import Keyring
from audiohookd.escaping import printable
from audiohookd.observe.log_encoding import escape_log
from audiohookd.runtime.privileges import User, become
from audiohookd.runtime.services import OrderedServices, StartError

#: Seconds that each service may take to stop, in addition to its own time-out.
STOP_TIMEOUT = 60.0

_log = Logger()


class Launch(Struct, frozen=True):
    """How twistd was started."""

    #: The user to switch to if root starts the daemon. None: the daemon does not switch.
    user: User | None = None
    #: Receives the log. None: the command line of twistd names another destination.
    log_observer: ILogObserver | None = None


class Root(OrderedServices):
    """The top of the service tree. If a service fails to start, prints one line and exits with a non-zero status."""

    def __init__(self, clock: IReactorTime, endpoint: str, path: Path, keyring: Keyring, launch: Launch) -> None:
        super().__init__(clock, STOP_TIMEOUT)
        self.keyring = keyring
        self.endpoint = endpoint
        self.path = path
        self._launch = launch

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """Registers the log observer at the parent, which is the application that twistd asks for it."""
        super().setServiceParent(parent)
        if self._launch.log_observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._launch.log_observer)

    def privilegedStartService(self) -> None:
        """Drops root privileges. twistd calls this first, after it has created its log and its pid file.

        :raises StartError: a service cannot start; the reason was printed.
        """
        escape_log(globalLogPublisher)
        with _printed():
            super().privilegedStartService()
        if os.geteuid() == 0 and self._launch.user is not None and self._launch.user.uid != 0:
            become(self._launch.user)

    def startService(self) -> None:
        """Starts all services.

        :raises StartError: a service cannot start; the reason was printed.
        """
        with _printed():
            super().startService()
        _log.info(
            "audiohookd {version} started: listening on {endpoint}, configured by {path}",
            version=__version__,
            endpoint=self.endpoint,
            path=str(self.path),
        )
        _log.info("API keys: {keys}", keys=repr(self.keyring.keys))


@contextmanager
def _printed() -> Iterator[None]:
    """Prints a StartError of the block as one line."""
    try:
        yield
    except StartError as error:
        sys.stderr.write(f"audiohookd: {printable(str(error))}\n")
        # twistd needs the exception: only then does it remove its pid file and release the parent process of a
        # daemonized process. The line above says everything, so no traceback is printed.
        sys.excepthook = lambda *_: None
        raise
