"""What a second SIGTERM or Ctrl-C means: do not wait any longer.

Twisted ignores it, and logs a traceback for it.
"""

import signal
from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorFromThreads

Install = Callable[[int, Callable[[int, Any], None]], Any]


class SecondSignal(Service):
    """From its stop on, each SIGINT and SIGTERM calls ``hurry``.

    :param install: sets a signal's handler; signals reach the main thread, between any two of its instructions.
    """

    name = "second signal"

    def __init__(
        self, reactor: IReactorFromThreads, hurry: Callable[[], None], install: Install = signal.signal
    ) -> None:
        self._reactor = reactor
        self._hurry = hurry
        self._install = install

    def stopService(self) -> None:
        """The first signal has come, or something else ends the daemon."""
        super().stopService()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._install(number, self._again)

    def _again(self, number: int, frame: Any) -> None:
        self._reactor.callFromThread(self._hurry)
