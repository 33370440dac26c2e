"""What signals mean besides those that Twisted handles.

A second SIGTERM or Ctrl-C: do not wait any longer (Twisted ignores it, and logs a traceback for it). A process that
runs on all the same, because a plugin blocks the reactor or Twisted waits for a thread, is ended after some seconds.
SIGHUP: keys, and files that may change while the daemon runs, are read again; by default it kills, and a closed
terminal or a log rotation sends it, too.
"""

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

#: Seconds after a second signal until the process is ended.
EXIT_AFTER = 5.0

#: Signals that end the daemon.
ENDING = (signal.SIGINT, signal.SIGTERM)

Install = Callable[[int, Callable[[int, Any], None]], Any]


def _alarm(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, seconds)


class Signals(Service):
    """Handles SIGHUP while it runs, and from its stop on each further SIGINT and SIGTERM by calling ``hurry``.

    A reactor that is blocked when the first of these comes does not even begin to stop: a second one has the process
    ended, unless the stop begins in time.

    :param reactor: calls from threads, and when it runs.
    :param reread: are called at each SIGHUP, in the reactor thread; none of them raises.
    :param alarm: has SIGALRM sent after so many seconds.
    :param install: sets a signal's handler; signals reach the main thread, between any two of its instructions.
    :param handler_of: gives a signal's handler.
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
        self._is_ending = False  # the first signal has come
        self._is_alarm_set = False

    def privilegedStartService(self) -> None:
        """Before anything starts: a SIGHUP right after the daemon said that it is ready would have killed it."""
        super().privilegedStartService()
        self._install(signal.SIGHUP, self._later(self._look_again))

    def startService(self) -> None:
        """From now on SIGHUP does no harm."""
        super().startService()
        self._install(signal.SIGHUP, self._later(self._look_again))
        self._reactor.callWhenRunning(self._watch)  # Twisted has installed its handlers by then

    def stopService(self) -> None:
        """The first SIGTERM has come, or something else ends the daemon."""
        super().stopService()
        for number in ENDING:
            self._install(number, self._end_soon)
        if self._is_alarm_set:
            self._alarm(0.0)

    def _watch(self) -> None:
        for number in ENDING if self.running else ():
            handler = self._handler_of(number)
            if callable(handler):  # else it is ignored, as SIGINT is below nohup
                self._install(number, partial(self._end, handler))

    def _end(self, handler: Callable[[int, Any], object], number: int, frame: Any) -> None:
        """In the signal's handler, before the stop begins. Programs that send a signal twice at once end no call."""
        if self._is_ending:
            self._is_alarm_set = True
            self._set_alarm()
        else:
            self._is_ending = True
            handler(number, frame)

    def _end_soon(self, number: int, frame: Any) -> None:
        """In the signal's handler: a reactor that is blocked calls nothing."""
        self._set_alarm()
        self._reactor.callFromThread(self._go_on)

    def _set_alarm(self) -> None:
        self._install(signal.SIGALRM, _exit)
        self._alarm(EXIT_AFTER)

    def _later(self, react: Callable[[], None]) -> Callable[[int, Any], None]:
        return lambda number, frame: self._reactor.callFromThread(react)

    def _look_again(self) -> None:
        self._log.info("SIGHUP: keys and files are read again; restart to take over a new configuration")
        for read in self._reread:
            read()

    def _go_on(self) -> None:
        text = "a second signal: nothing is waited for any longer; {what} are repaired at the next start"
        self._log.info(text, what="unfinished recordings")
        self._hurry()


def _exit(number: int, frame: Any) -> None:
    """Without Python's own end of a process, which waits for threads."""
    why = "blocked by a plugin or a thread"
    os.write(2, f"audiohookd: still running {EXIT_AFTER:g} s after a second signal, {why}: ended\n".encode())
    os._exit(1)
