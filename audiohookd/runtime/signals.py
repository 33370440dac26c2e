"""What signals mean besides those that Twisted handles.

A second SIGTERM or Ctrl-C: do not wait any longer (Twisted ignores it, and logs a traceback for it). SIGHUP: nothing,
but nothing bad either: by default it kills, and a closed terminal or a log rotation sends it.
"""

import signal
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

Install = Callable[[int, Callable[[int, Any], None]], Any]


class Signals(Service):
    """Handles SIGHUP while it runs, and from its stop on each further SIGINT and SIGTERM by calling ``hurry``.

    :param install: sets a signal's handler; signals reach the main thread, between any two of its instructions.
    """

    name = "signals"
    _log = Logger()

    def __init__(
        self, reactor: IReactorFromThreads, hurry: Callable[[], None], install: Install = signal.signal
    ) -> None:
        self._reactor = reactor
        self._hurry = hurry
        self._install = install

    def startService(self) -> None:
        """From now on SIGHUP does no harm."""
        super().startService()
        self._install(signal.SIGHUP, self._later(self._stay))

    def stopService(self) -> None:
        """The first SIGTERM has come, or something else ends the daemon."""
        super().stopService()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._install(number, self._later(self._go_on))

    def _later(self, react: Callable[[], None]) -> Callable[[int, Any], None]:
        return lambda number, frame: self._reactor.callFromThread(react)

    def _stay(self) -> None:
        self._log.info("SIGHUP: nothing is read again; restart to take over a new configuration")

    def _go_on(self) -> None:
        self._log.info("another signal: waiting no longer")
        self._hurry()
