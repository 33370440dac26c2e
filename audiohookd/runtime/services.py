"""Starts services in order, and stops them in reverse order, one after the other.

Twisted's MultiService stops all children at once: uploads would end before the calls.
"""

import errno
from typing import Any

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IDelayedCall,
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.runtime import foreign_code
from audiohookd.runtime.error_text import in_words, is_mistake
from audiohookd.runtime.foreign_code import Outcome
from audiohookd.runtime.systemd import as_inherited

#: Seconds for the stop of each child after a second signal; a child's ``hurried_limit`` overrides it.
HURRIED_LIMIT = 0.25
#: The same after ``HURRIED_COUNT`` children have timed out. With 20 hanging pools of a plugin, the stop did not reach
#: the spool within the 5 s after which the process is killed.
HURRIED_MINIMUM = 0.02
HURRIED_COUNT = 4


class StartError(Exception):
    """The daemon cannot start. The text gives the reason in one line."""

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(line.strip() for line in text.splitlines()))


class OrderedServices(MultiService):
    """Services of which each depends on the previous ones.

    :param stop_timeout: seconds that each child may take to stop, in addition to its own ``stop_limit``.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, stop_timeout: float) -> None:
        super().__init__()
        self._clock = clock
        self._stop_timeout = stop_timeout
        self._is_hurried = False
        self._abandoned = 0  # children that timed out since the second signal
        #: The child that is being stopped, and its time-out.
        self._stopping: tuple[IService, IDelayedCall] | None = None

    def privilegedStartService(self) -> None:
        """Runs the privileged start of all children in order.

        :raises StartError: that of a child failed; the later ones are not called.
        """
        Service.privilegedStartService(self)
        for child in self:
            _raise_failure(child, foreign_code.call(child.privilegedStartService))

    def startService(self) -> None:
        """Starts all children in order.

        :raises StartError: a child failed to start; the later ones are not started.
        """
        Service.startService(self)
        for child in self:
            result = foreign_code.call(child.startService)
            _raise_failure(child, result)
            _attend(child, result)

    def stopService(self) -> "Deferred[None]":
        """Fires when all children have stopped. A child that fails or times out does not block the others."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for child in reversed(list(self)):
            await self._stop_child(child)

    def _stop_child(self, child: IService) -> "Deferred[None]":
        """Fires when the child has stopped, failed or timed out."""
        limit = getattr(child, "stop_limit", 0.0) + self._stop_timeout
        over: Deferred[None] = Deferred()
        stopping = foreign_code.outcome_of(child.stopService)

        def stopped(outcome: Outcome) -> None:
            if over.called:
                return  # timed out, and logged as such
            end.cancel()
            self._stopping = None
            if outcome.failure is not None:
                failure = foreign_code.loggable(outcome.failure)
                self._log.failure("{service} failed to stop", failure, service=child.name)
            over.callback(None)

        def abandon() -> None:
            self._stopping = None
            self._log_abandoned(child, limit)
            over.callback(None)
            stopping.cancel()

        def ignored_cancel(_: Failure) -> None:
            """The child was cancelled, and continues."""

        end = self._clock.callLater(limit, abandon)
        self._stopping = child, end
        stopping.addCallbacks(stopped, ignored_cancel)
        if self._is_hurried and self._stopping is not None:
            self._hurry_child(child, end)
        return over

    def hurry(self) -> None:
        """Limits the stop of the current and of each later child to a fraction of a second.

        Has no effect before the stop.
        """
        self._is_hurried = self._is_hurried or not self.running
        if self._stopping is not None:
            self._hurry_child(*self._stopping)

    def _hurry_child(self, child: IService, end: IDelayedCall) -> None:
        hurry = getattr(child, "hurry", None)
        if hurry is not None:
            hurry()
        if end.active():
            limit = HURRIED_LIMIT if self._abandoned < HURRIED_COUNT else HURRIED_MINIMUM
            end.reset(getattr(child, "hurried_limit", limit))

    def _log_abandoned(self, child: IService, limit: float) -> None:
        if self._is_hurried:
            self._abandoned += 1
            text = "{service} did not stop at once after a second signal, and is abandoned"
        else:
            text = "{service} did not stop within {limit:g} s: timed out, and is abandoned"
        self._log.error(text, service=child.name, limit=limit)


def _raise_failure(child: IService, result: Any) -> None:
    """:raises StartError: ``result`` is the Failure of a start."""
    if not isinstance(result, Failure) or result.value is None:
        return
    if result.check(StartError):
        raise result.value
    if is_mistake(result.value):
        OrderedServices._log.failure("{service} cannot start", foreign_code.loggable(result), service=child.name)
    raise StartError(f"{child.name}: {in_words(result.value)}") from result.value


def _attend(child: IService, result: Any) -> None:
    """Logs the failure of a start that continues in the background, as a plugin's may."""
    starting = foreign_code.call(foreign_code.deferred_of, result)

    def log(failure: Failure) -> None:
        text = "{service} failed to start"
        OrderedServices._log.failure(text, foreign_code.loggable(failure), service=child.name)

    if isinstance(starting, Failure):
        log(starting)
    elif isinstance(starting, Deferred):
        starting.addErrback(log)


class Listener(Service):
    """A listening port.

    Twisted's StreamServerEndpointService only logs an error if the port is in use, and continues without it.

    :param description: the endpoint, for error messages.
    :param where: its place in the configuration. Error messages end with it, because twistd truncates the error of a
        daemonized start after 100 characters.
    """

    def __init__(
        self, name: str, endpoint: IStreamServerEndpoint, description: str, where: str, factory: IProtocolFactory
    ) -> None:
        self.name = name
        self._endpoint = as_inherited(endpoint)
        self._description = description
        self._where = where
        self._factory = factory
        self._port: IListeningPort | None = None

    def startService(self) -> None:
        """Opens the port.

        :raises StartError: the port cannot be opened.
        """
        super().startService()
        failures: list[Failure] = []
        self._endpoint.listen(self._factory).addCallbacks(self._listening, failures.append)
        if failures:
            raise StartError(f"cannot listen on {self._description}: {_reason(failures[0])} ({self._where})")
        if self._port is None:
            raise StartError(f"{self._description} does not listen at once; use another endpoint ({self._where})")

    def stopService(self) -> "Deferred[Any]":
        """Fires when the port is closed. Connections stay open."""
        super().stopService()
        port, self._port = self._port, None
        return maybeDeferred(port.stopListening) if port is not None else maybeDeferred(lambda: None)

    def _listening(self, port: IListeningPort) -> None:
        self._port = port


#: Remedies, by the errno of the error.
_REMEDIES = {
    errno.EADDRINUSE: "; ss -ltnp shows by which process",
    errno.EADDRNOTAVAIL: "; ip addr shows the addresses of this machine",
    errno.EROFS: "; under systemd, its directory needs ReadWritePaths= in the unit",
    errno.EACCES: "; the daemon's user may not open it: use a port above 1023 behind a proxy, or a systemd: endpoint",
}


def _reason(failure: Failure) -> str:
    fault = failure.value
    if isinstance(fault, CannotListenError) and isinstance(fault.socketError, OSError):
        number = fault.socketError.errno
        return f"{fault.socketError.strerror or fault.socketError}{_REMEDIES.get(number or 0, '')}"
    return str(fault) or type(fault).__name__
