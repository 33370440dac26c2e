"""Keeps the live sessions: limits how many there are, and drains them when the daemon stops."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from audiohookd.session.quotas import Owner, Quotas

#: Connections in addition to twice the sessions: for rejected sessions, for probes, and for calls that have ended
#: while their plugins still work.
SPARE_CONNECTIONS = 64
#: Seconds for each of the two steps of a drain after a second signal, instead of ``grace``.
HURRIED_GRACE = 0.4
#: Connections of an owner in addition to twice its quota. The daemon accepts these upgrades and rejects the session
#: with ``disconnect error``, which Genesys Cloud retries.
SPARE_CONNECTIONS_OF_OWNER = 16
#: Share of the connections in use from which ``/ready`` warns.
CONNECTIONS_WARN_RATIO: Final = 0.9
#: Seconds for which ``/ready`` warns after an upgrade was rejected.
REJECTION_WARN_TIME: Final = 60.0
#: The owner of requests without a known owner; it has no quota.
UNOWNED: Final = Owner("", "")


class AdmissionDenied(Struct, frozen=True):
    """Why a session is rejected: ``info`` is sent to the client, ``detail`` is only logged."""

    info: str
    detail: str = ""


class TrackedConnection(Protocol):
    """The interface of connections that the registry uses."""

    #: Fires when the connection is lost and its plugins have finished.
    finished: "Deferred[None]"

    @property
    def unfinished(self) -> Sequence[str]:
        """Names of the plugins that have not finished the session."""

    @property
    def session_id(self) -> str:
        """The id of the session."""

    def describe(self) -> dict[str, object]:
        """The session, for the operator."""

    def hold_pause(self, is_held: bool) -> bool:
        """Pauses the session for the operator, or ends that pause. False if the session is not open."""

    def abandon(self) -> None:
        """Stops waiting for the plugins. The session has ended and the connection is lost."""

    def start_draining(self) -> None:
        """Asks the client to move to another connection, if its route allows it."""

    def shut_down(self) -> None:
        """Asks the client to end the session."""

    def abort(self) -> None:
        """Drops the connection at once."""


class Registry(Service):
    """Keeps the connections and admits sessions. When it stops, it rejects new sessions and lets the calls finish.

    :param drain_timeout: seconds that calls may continue after the stop.
    :param grace: seconds for each of the two steps after that: the clients close, the plugins finish. Must exceed a
        session's ``disconnect_timeout``, or clients are cut off before they can close.
    :param obstacle: returns why a new session cannot be recorded now, or None. Called for each session; the text is
        not sent to the client.
    :param quotas: limits of organizations and API keys.
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
        #: Seconds that the stop may take.
        self.stop_limit = drain_timeout + 2 * grace
        self._connections: set[TrackedConnection] = set()
        self._connection_quotas = self._quotas.scaled(2, SPARE_CONNECTIONS_OF_OWNER)
        self._owners: dict[TrackedConnection, Owner] = {}
        self._rejected: tuple[float, str] | None = None
        self._admitted: dict[TrackedConnection, Owner] = {}
        # Connections that are lost while their plugins still work, the oldest first.
        self._unfinished: dict[TrackedConnection, None] = {}
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
        """True if no further session is admitted."""
        return len(self._admitted) >= self.max_sessions

    @property
    def at_connection_limit(self) -> bool:
        """True if no further upgrade is accepted, not even to reject its session."""
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
        """Lines for ``/ready``: few connections are left, or an upgrade was rejected because none was left."""
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
        """Decides whether an upgrade is rejected with status 503.

        This is the last resort, because Genesys Cloud does not retry it. An owner with a quota may have twice as many
        connections as sessions plus :data:`SPARE_CONNECTIONS_OF_OWNER`; up to that limit its sessions are rejected
        with ``disconnect error``.

        :param owner: the owner of an authenticated request.
        :returns: the reason, for the log; None to accept the upgrade.
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
        """The progress of the drain, in words for the operator; None before it starts."""
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
        """Registers a WebSocket.

        :param owner: the owner of the request if it is authenticated.
        """
        self._connections.add(connection)
        self._owners[connection] = owner
        self._connection_quotas.acquire(owner)
        connection.finished.addCallback(self._remove, connection)

    def admit(
        self, connection: TrackedConnection, is_probe: bool = False, owner: Owner = UNOWNED
    ) -> AdmissionDenied | None:
        """Admits or rejects the session of a connection.

        A rejected session gets ``disconnect error``, which Genesys Cloud retries. It does not retry a failed upgrade.

        Probes are always admitted except in a drain: they need no place and record nothing. A rejected probe would
        prevent an administrator from activating a changed integration.

        :returns: None if the session is admitted, otherwise why not.
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
        """Frees the place of a session that has ended, even if its plugins still work. May be called again."""
        owner = self._admitted.pop(connection, None)
        if owner is not None:
            self._quotas.release(owner)
        if self._emptied is not None and not self._awaited:
            self._go_on()

    def describe(self) -> list[dict[str, object]]:
        """The live sessions, for the operator."""
        return [connection.describe() for connection in self._admitted]

    def hold_pause(self, session_id: str, is_held: bool) -> bool:
        """Pauses a session for the operator, or ends that pause. False if there is no such open session."""
        return any(
            connection.hold_pause(is_held)
            for connection in list(self._admitted)
            if connection.session_id.lower() == session_id.lower()
        )

    def detach(self, connection: TrackedConnection) -> None:
        """Registers that ``connection`` is lost while its plugins still work. Of too many, abandons the oldest."""
        self._unfinished[connection] = None
        self._return_connection(connection)
        if len(self._unfinished) > self.max_sessions + SPARE_CONNECTIONS:
            oldest = next(iter(self._unfinished))
            del self._unfinished[oldest]
            self._count("limit_hits", "unfinished-sessions")
            oldest.abandon()

    def stopService(self) -> "Deferred[None]":
        """Drains the sessions. Fires when all connections have finished or were abandoned."""
        super().stopService()
        return Deferred.fromCoroutine(self._drain())

    def start_draining(self) -> None:
        """Rejects new sessions from now on; live sessions continue."""
        self.draining = True
        self._drain_began = self._clock.seconds()

    async def _drain(self) -> None:
        self.start_draining()
        if self._admitted:
            self._log.info(
                "draining: waiting up to {timeout} s for {calls} to end; a second signal ends the wait",
                timeout=self._drain_timeout,
                calls=f"{len(self._admitted)} call{'' if len(self._admitted) == 1 else 's'}",
            )
            for connection in list(self._admitted):
                connection.start_draining()
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
            text = "drain timed out: plugins have not finished {count} sessions, which are abandoned{plugins}"
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
        """Starts the next step of the drain, and shortens the later ones to :data:`HURRIED_GRACE`."""
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
