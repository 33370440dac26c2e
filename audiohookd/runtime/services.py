"""Services in order: started from first to last, stopped from last to first, one after the other.

Twisted's own MultiService stops all its children in the same tick: uploads would end before the calls do.
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
from audiohookd.runtime.inherited_socket import as_inherited

#: Seconds for the stop of each child after a second signal; a child may ask for others in ``hurried_limit``.
HURRIED_LIMIT = 0.25
#: The same once ``HURRIED_COUNT`` children have not stopped in that time. With 20 pools of a plugin that hang, the
#: spool was not reached within the 5 s after which the process is ended.
HURRIED_MINIMUM = 0.02
HURRIED_COUNT = 4


class StartError(Exception):
    """The daemon cannot start, for a reason that one line tells."""

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(line.strip() for line in text.splitlines()))


class OrderedServices(MultiService):
    """Children that depend on those before them.

    :param stop_timeout: seconds granted to each child's stop beyond what it allows itself; then the next is stopped.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, stop_timeout: float) -> None:
        super().__init__()
        self._clock = clock
        self._stop_timeout = stop_timeout
        self._is_hurried = False
        self._given_up = 0  # children, since the second signal
        #: The child whose stop is awaited, and the end of that.
        self._stopping: tuple[IService, IDelayedCall] | None = None

    def startService(self) -> None:
        """Starts all, in order.

        :raises StartError: the first child that failed says why; those after it are not started.
        """
        Service.startService(self)
        for child in self:
            _start(child)

    def stopService(self) -> "Deferred[None]":
        """Fires when all are stopped. A child that fails, or takes too long, does not keep the others running."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for child in reversed(list(self)):
            await self._stop_child(child)

    def _stop_child(self, child: IService) -> "Deferred[None]":
        """Fires when it has stopped, or is given up."""
        limit = getattr(child, "stop_limit", 0.0) + self._stop_timeout
        over: Deferred[None] = Deferred()
        stopping = foreign_code.outcome_of(child.stopService)

        def stopped(outcome: Outcome) -> None:
            if over.called:
                return  # given up, and logged as such
            end.cancel()
            self._stopping = None
            if outcome.failure is not None:
                failure = foreign_code.loggable(outcome.failure)
                self._log.failure("{service} did not stop well", failure, service=child.name)
            over.callback(None)

        def give_up() -> None:
            self._stopping = None
            self._log_given_up(child, limit)
            over.callback(None)
            stopping.cancel()

        def goes_on(_: Failure) -> None:
            """It was cancelled, and ignores that."""

        end = self._clock.callLater(limit, give_up)
        self._stopping = child, end
        stopping.addCallbacks(stopped, goes_on)
        if self._is_hurried and self._stopping is not None:
            self._hurry_child(child, end)
        return over

    def hurry(self) -> None:
        """Waits a fraction of a second for the child that stops, and for each after it. Harmless before the stop."""
        self._is_hurried = self._is_hurried or not self.running
        if self._stopping is not None:
            self._hurry_child(*self._stopping)

    def _hurry_child(self, child: IService, end: IDelayedCall) -> None:
        hurry = getattr(child, "hurry", None)
        if hurry is not None:
            hurry()
        if end.active():
            limit = HURRIED_LIMIT if self._given_up < HURRIED_COUNT else HURRIED_MINIMUM
            end.reset(getattr(child, "hurried_limit", limit))

    def _log_given_up(self, child: IService, limit: float) -> None:
        if self._is_hurried:
            self._given_up += 1
            text = "{service} did not stop at once after a second signal, and is given up"
        else:
            text = "{service} did not stop within {limit:g} s, and is not waited for any longer"
        self._log.error(text, service=child.name, limit=limit)


def _start(child: IService) -> None:
    failure = foreign_code.call(child.startService)
    if not isinstance(failure, Failure) or failure.value is None:
        _attend(child, failure)
        return
    if failure.check(StartError):
        raise failure.value
    if is_mistake(failure.value):
        OrderedServices._log.failure("{service} cannot start", foreign_code.loggable(failure), service=child.name)
    raise StartError(f"{child.name}: {in_words(failure.value)}") from failure.value


def _attend(child: IService, result: Any) -> None:
    """A start that goes on, as that of a plugin may: it is not waited for, but what it comes to is logged."""
    starting = foreign_code.call(foreign_code.deferred_of, result)

    def log(failure: Failure) -> None:
        text = "{service} did not start well"
        OrderedServices._log.failure(text, foreign_code.loggable(failure), service=child.name)

    if isinstance(starting, Failure):
        log(starting)
    elif isinstance(starting, Deferred):
        starting.addErrback(log)


class Listener(Service):
    """A listening port.

    Not Twisted's StreamServerEndpointService: when the port is taken that one logs an error and runs on, deaf.

    :param description: of the endpoint, for the user; ``where`` it was configured comes last, for twistd cuts off
        what a daemonized start says after 100 characters.
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
        """Listens.

        :raises StartError: the port cannot be had.
        """
        super().startService()
        failures: list[Failure] = []
        self._endpoint.listen(self._factory).addCallbacks(self._listening, failures.append)
        if failures:
            raise StartError(f"cannot listen on {self._description}: {_reason(failures[0])} ({self._where})")
        if self._port is None:
            raise StartError(f"{self._description} does not listen at once; use another endpoint ({self._where})")

    def stopService(self) -> "Deferred[Any]":
        """Fires when the port is closed; connections stay."""
        super().stopService()
        port, self._port = self._port, None
        return maybeDeferred(port.stopListening) if port is not None else maybeDeferred(lambda: None)

    def _listening(self, port: IListeningPort) -> None:
        self._port = port


#: What to do about it, by the error of the system.
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
