"""Handles SIGHUP, and a second SIGTERM or SIGINT, in addition to the signals that Twisted handles.

After a second SIGTERM or Ctrl-C the daemon stops without waiting; Twisted would ignore it and log a traceback. If the
process still runs after some seconds, because a plugin blocks the reactor or Twisted waits for a thread, it exits.

SIGHUP reloads keys and files. By default it would kill the daemon, and a closed terminal or a log rotation may send
it.
"""

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

#: Seconds after a second signal until the process exits.
EXIT_AFTER = 5.0

#: Signals that end the daemon.
ENDING = (signal.SIGINT, signal.SIGTERM)

Install = Callable[[int, Callable[[int, Any], None]], Any]


def _alarm(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, seconds)


class Signals(Service):
    """Handles SIGHUP while it runs. After the stop has begun, each further SIGINT and SIGTERM calls ``hurry``.

    If the reactor is blocked at the first signal, the stop does not begin. A second signal then ends the process
    after :data:`EXIT_AFTER` seconds, unless the stop begins before.

    :param reactor: provides ``callFromThread`` and ``callWhenRunning``.
    :param hurry: called in the reactor thread to stop without waiting.
    :param install: sets the handler of a signal, which runs in the main thread between any two instructions.
    :param reread: functions to call in the reactor thread at each SIGHUP. They must not raise.
    :param alarm: schedules SIGALRM in so many seconds.
    :param handler_of: returns the handler of a signal.
    """

    name = "signals"
    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        hurry: Callable[[], None],
        install: Install = signal.signal,
        reread: Sequence[Callable[[], object]] = (),
        alarm: Callable[[float], object] = _alarm,
        handler_of: Callable[[int], Any] = signal.getsignal,
    ) -> None:
        self._reactor = reactor
        self._hurry = hurry
        self._install = install
        self._reread = reread
        self._alarm = alarm
        self._handler_of = handler_of
        self._is_ending = False  # the first signal was received
        self._is_alarm_set = False

    def privilegedStartService(self) -> None:
        """Installs the handler before anything starts, or an early SIGHUP would kill the daemon."""
        super().privilegedStartService()
        self._install(signal.SIGHUP, self._later(self._look_again))

    def startService(self) -> None:
        """Handles SIGHUP, and watches for the first SIGINT or SIGTERM."""
        super().startService()
        self._install(signal.SIGHUP, self._later(self._look_again))
        self._reactor.callWhenRunning(self._watch)  # Twisted has installed its handlers by then

    def stopService(self) -> None:
        """Handles further signals after the stop has begun."""
        super().stopService()
        for number in ENDING:
            self._install(number, self._end_soon)
        if self._is_alarm_set:
            self._alarm(0.0)

    def _watch(self) -> None:
        for number in ENDING if self.running else ():
            handler = self._handler_of(number)
            if callable(handler):  # else the signal is ignored, as SIGINT under nohup
                self._install(number, partial(self._end, handler))

    def _end(self, handler: Callable[[int, Any], object], number: int, frame: Any) -> None:
        """Handles SIGINT and SIGTERM before the stop begins. A signal that is sent twice at once ends no call."""
        if self._is_ending:
            self._is_alarm_set = True
            self._set_alarm()
        else:
            self._is_ending = True
            handler(number, frame)

    def _end_soon(self, number: int, frame: Any) -> None:
        """Handles a further signal. Sets the alarm here, because a blocked reactor would not call anything."""
        self._set_alarm()
        self._reactor.callFromThread(self._go_on)

    def _set_alarm(self) -> None:
        self._install(signal.SIGALRM, _exit)
        self._alarm(EXIT_AFTER)

    def _later(self, react: Callable[[], None]) -> Callable[[int, Any], None]:
        return lambda number, frame: self._reactor.callFromThread(react)

    def _look_again(self) -> None:
        self._log.info("SIGHUP: reloading keys and files; restart the daemon to apply a new configuration")
        for read in self._reread:
            read()

    def _go_on(self) -> None:
        self._log.info("second signal: shutting down at once; unfinished recordings are recovered at the next start")
        self._hurry()


def _exit(number: int, frame: Any) -> None:
    """Exits without Python's own clean-up, which waits for threads."""
    why = "blocked by a plugin or a thread"
    os.write(2, f"audiohookd: still running {EXIT_AFTER:g} s after a second signal, {why}: exiting\n".encode())
    os._exit(1)
