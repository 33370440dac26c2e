"""The live sessions: how many there may be, and how they end when the daemon does."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from audiohookd.session.quotas import Owner, Quotas

#: Connections beyond twice the sessions: of those who are told that there is no place, of probes, and of calls that
#: are over while their plugins still work.
SPARE_CONNECTIONS = 64
#: Seconds for each of the two steps of a drain after a second signal, instead of ``grace``.
HURRIED_GRACE = 0.4
#: The same for an owner with a quota, beyond twice the quota: a few more upgrades are accepted, for ``disconnect
#: error`` in a session, which Genesys Cloud retries.
SPARE_CONNECTIONS_OF_OWNER = 16
#: The part of all connections from which on ``/ready`` warns.
CONNECTIONS_WARN_RATIO: Final = 0.9
#: Seconds for which ``/ready`` warns after an upgrade was rejected.
REJECTION_WARN_TIME: Final = 60.0
#: Of whom no quota is known.
UNOWNED: Final = Owner("", "")


class AdmissionDenied(Struct, frozen=True):
    """Why there is no session: what the client is told, and what is for the log alone."""

    info: str
    detail: str = ""


class TrackedConnection(Protocol):
    """What the registry knows of a connection."""

    #: Fires when the connection is gone and its plugins are done.
    finished: "Deferred[None]"

    @property
    def unfinished(self) -> Sequence[str]:
        """The names of the plugins that are not done with it."""

    def abandon(self) -> None:
        """Its session is over and the connection gone: do not wait for its plugins any longer."""

    def shut_down(self) -> None:
        """Ask the client to end the session."""

    def abort(self) -> None:
        """End it now, without asking anybody."""


class Registry(Service):
    """Keeps the connections. Stopping it means: take no new session, and let the calls finish.

    :param drain_timeout: seconds that calls may go on after the stop.
    :param grace: seconds for each of the two steps after that: the clients' goodbye, the plugins' last work. More
        than a session's ``disconnect_timeout``, for who is aborted first cannot be polite.
    :param obstacle: why a new session could not be recorded now, or None. Asked at each; never told to the client.
    :param quotas: of those that sessions belong to.
    :param count: counts by name and label.
    """

    name = "sessions"
    hurried_limit = 3 * HURRIED_GRACE
    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        max_sessions: int,
        drain_timeout: float,
        grace: float = 12.0,
        obstacle: Callable[[], str | None] = lambda: None,
        quotas: Quotas | None = None,
        count: Callable[..., object] = lambda *_: None,
    ) -> None:
        self._clock = clock
        self.max_sessions = max_sessions
        self._drain_timeout = drain_timeout
        self._grace = grace
        self._obstacle = obstacle
        self._quotas = quotas or Quotas()
        self._count = count
        #: Seconds that the stop may take, for whoever waits for it.
        self.stop_limit = drain_timeout + 2 * grace
        self._connections: set[TrackedConnection] = set()
        self._connection_quotas = self._quotas.scaled(2, SPARE_CONNECTIONS_OF_OWNER)
        self._owners: dict[TrackedConnection, Owner] = {}
        self._rejected: tuple[float, str] | None = None
        self._admitted: dict[TrackedConnection, Owner] = {}
        self._unfinished: dict[
            TrackedConnection, None
        ] = {}  # gone, but for what their plugins still do; the oldest first
        self._emptied: Deferred[None] | None = None
        self._awaited: Collection[TrackedConnection] = ()
        self._drain_began = 0.0
        self._is_hurried = False
        self.draining = False

    def __len__(self) -> int:
        return len(self._admitted)

    def __iter__(self) -> Iterator[TrackedConnection]:
        return iter(self._connections)

    @property
    def full(self) -> bool:
        """One more session would be too many."""
        return len(self._admitted) >= self.max_sessions

    @property
    def at_connection_limit(self) -> bool:
        """So many are connected, with and without a session, that one more could not even be told that it is full."""
        return self._in_use >= self.max_connections

    @property
    def _in_use(self) -> int:
        return len(self._connections) - len(self._unfinished)

    @property
    def max_connections(self) -> int:
        """The most WebSockets at a time, with and without a session."""
        return 2 * self.max_sessions + SPARE_CONNECTIONS

    @property
    def connection_warnings(self) -> list[str]:
        """Lines for ``/ready``: connections are nearly all in use, or an upgrade was rejected for want of one."""
        warnings = []
        if self._in_use >= CONNECTIONS_WARN_RATIO * self.max_connections:
            used = f"{self._in_use} of {self.max_connections} WebSocket connections are in use"
            warnings.append(f"{used}; beyond that upgrades are rejected with status 503 (listen.max_sessions)")
        if self._rejected is not None and self._clock.seconds() - self._rejected[0] <= REJECTION_WARN_TIME:
            warnings.append(
                "an upgrade was rejected with status 503 within the last minute, "
                f"and Genesys Cloud does not retry it: {self._rejected[1]}"
            )
        return warnings

    def reject_upgrade(self, owner: Owner = UNOWNED) -> str | None:
        """Why an upgrade gets status 503 now, for the log; None: it is accepted.

        The last resort, for Genesys Cloud does not retry it: an owner with a quota may have twice as many connections
        as sessions, and a few more, and is refused in a session until then.

        :param owner: of an authentic request.
        """
        exhausted = self._connection_quotas.exhausted(owner)
        if self.at_connection_limit:
            limit, reason = "connections", f"listen.max_sessions is {self.max_sessions}"
        elif owner != UNOWNED and exhausted is not None:
            limit = exhausted.replace("sessions", "connections")
            count = self._connection_quotas.count(exhausted, owner)
            reason = f"{count} for {self._quotas.describe(exhausted, owner)}"
        else:
            return None
        self._count("limit_hits", limit)
        self._rejected = (self._clock.seconds(), f"too many connections: {reason}")
        return self._rejected[1]

    @property
    def drain_state(self) -> str | None:
        """How far the drain has come, for the operator; None before it."""
        if not self.draining:
            return None
        if self._awaited is not self._admitted:
            count = len(self._connections)
            return f"shutting down, {count} connections are being closed" if count else "shutting down"
        seconds = self._clock.seconds() - self._drain_began
        count, left = len(self._admitted), self._drain_timeout - seconds
        remain = "1 session remains, which is" if count == 1 else f"{count} sessions remain, which are"
        return f"draining for {seconds:.0f} s, {remain} closed in {left:.0f} s"

    def add(self, connection: TrackedConnection, owner: Owner = UNOWNED) -> None:
        """A WebSocket was opened, by a request of ``owner`` if that is authentic."""
        self._connections.add(connection)
        self._owners[connection] = owner
        self._connection_quotas.acquire(owner)
        connection.finished.addCallback(self._remove, connection)

    def admit(
        self, connection: TrackedConnection, is_probe: bool = False, owner: Owner = UNOWNED
    ) -> AdmissionDenied | None:
        """May this connection have a session? None for yes, otherwise why not.

        The answer to no is ``disconnect error``, which Genesys Cloud retries; it does not retry a failed upgrade.
        A probe takes nobody's place and records nothing; to refuse it would keep an administrator, who changes
        anything at the integration, from activating it again.
        """
        if self.draining:
            return AdmissionDenied("server is shutting down")
        if is_probe:
            return None
        if self.full:
            self._count("limit_hits", "sessions")
            return AdmissionDenied("too many sessions", f"listen.max_sessions is {self.max_sessions}")
        exhausted = self._quotas.exhausted(owner)
        if exhausted is not None:
            self._count("limit_hits", exhausted)
            return AdmissionDenied("too many sessions", self._quotas.describe(exhausted, owner))
        obstacle = self._obstacle()
        if obstacle is not None:
            return AdmissionDenied("no room for recordings", obstacle)
        self._quotas.acquire(owner)
        self._admitted[connection] = owner
        return None

    def release(self, connection: TrackedConnection) -> None:
        """The session of ``connection`` is over: its place is free, whatever its plugins still do. Harmless later."""
        owner = self._admitted.pop(connection, None)
        if owner is not None:
            self._quotas.release(owner)
        if self._emptied is not None and not self._awaited:
            self._go_on()

    def detach(self, connection: TrackedConnection) -> None:
        """``connection`` is gone, and only its plugins still work. Of too many, the oldest is abandoned."""
        self._unfinished[connection] = None
        self._return_connection(connection)
        if len(self._unfinished) > self.max_sessions + SPARE_CONNECTIONS:
            oldest = next(iter(self._unfinished))
            del self._unfinished[oldest]
            self._count("limit_hits", "unfinished-sessions")
            oldest.abandon()

    def stopService(self) -> "Deferred[None]":
        """Fires when all connections are gone."""
        super().stopService()
        return Deferred.fromCoroutine(self._drain())

    def start_draining(self) -> None:
        """From now on new sessions are refused; those that live go on."""
        self.draining = True
        self._drain_began = self._clock.seconds()

    async def _drain(self) -> None:
        self.start_draining()
        if self._admitted:
            self._log.info(
                "waiting up to {timeout} s for {count} calls to end; a second signal ends the wait",
                timeout=self._drain_timeout,
                count=len(self._admitted),
            )
            await self._wait_until_empty(self._admitted, self._drain_timeout)
            self._awaited = ()
        for connection in list(self._connections):
            connection.shut_down()
        await self._wait_until_empty(self._connections, self._grace)
        for connection in list(self._connections):
            connection.abort()
        await self._wait_until_empty(self._connections, self._grace)
        if self._connections:
            names = Counter(name for connection in self._connections for name in connection.unfinished)
            text = "{count} sessions were not finished by their plugins, and are given up{plugins}"
            plugins = f": {', '.join(sorted(names))}" if names else ""
            self._log.warn(text, count=len(self._connections), plugins=plugins)

    async def _wait_until_empty(self, connections: Collection[TrackedConnection], timeout: float) -> None:
        if not connections:
            return
        emptied: Deferred[None] = Deferred()
        self._emptied = emptied
        self._awaited = connections
        timer = self._clock.callLater(min(timeout, HURRIED_GRACE) if self._is_hurried else timeout, self._go_on)
        await emptied
        if timer.active():
            timer.cancel()

    def hurry(self) -> None:
        """Goes on with the next step of the drain, and waits a fraction of a second for the others."""
        self._is_hurried = self.draining
        self._go_on()

    def _go_on(self) -> None:
        if self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def _remove(self, _: Any, connection: TrackedConnection) -> None:
        self._connections.discard(connection)
        self._return_connection(connection)
        self._unfinished.pop(connection, None)
        self.release(connection)

    def _return_connection(self, connection: TrackedConnection) -> None:
        owner = self._owners.pop(connection, None)
        if owner is not None:
            self._connection_quotas.release(owner)
