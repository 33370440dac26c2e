"""A port that is reached through a proxy which says, in the PROXY protocol, whose each connection is.

Not Twisted's own wrapper: before the header is there nothing above this exists. So who somebody is, is known when his
connection is made, as at any other port, and who is to be dropped is dropped before TLS costs anything.
"""

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import directlyProvides, providedBy

from audiohookd.edge.base_transport import READ_SIZE, base_transport
from audiohookd.edge.client_address import client_address
from audiohookd.edge.pending_connections import PendingConnections
from audiohookd.edge.proxy_header import ProxyHeader, ProxyHeaderReader
from audiohookd.edge.rejection_log import RejectionLog


class ProxyProtocol(ProtocolWrapper):
    """A connection. All that comes after its header is passed on as it is, at once."""

    factory: "ProxyProtocolFactory"
    transport: Any
    wrappedProtocol: Any  # None until the header has been read

    def __init__(self, factory: "ProxyProtocolFactory") -> None:
        super().__init__(factory, None)  # type: ignore[arg-type]
        self._reader: ProxyHeaderReader | None = ProxyHeaderReader()  # None: the header has been read
        self._client: IAddress | None = None
        self._is_aborted = False

    def logPrefix(self) -> str:
        """How it calls itself in the log."""
        return self.factory.logPrefix()

    def makeConnection(self, transport: Any) -> None:
        """A connection, of the proxy or of who claims to be one."""
        directlyProvides(self, providedBy(transport))
        Protocol.makeConnection(self, transport)
        self.factory.registerProtocol(self)
        base_transport(transport).bufferSize = READ_SIZE
        self._timer = self.factory.clock.callLater(self.factory.timeout, self._expire)
        self.factory.lobby.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Octets: of the header, then of the client."""
        if self._reader is not None:
            self._read(self._reader, data)
        elif self.wrappedProtocol is not None and not self._is_aborted:
            self.wrappedProtocol.dataReceived(data)

    def _read(self, reader: ProxyHeaderReader, data: bytes) -> None:
        try:
            header = reader.feed(data)
        except ValueError as fault:
            self._stop_waiting()
            self.factory.refusals.dropped(self._peer_name(), str(fault))
            self.abortConnection()
            return
        if header is not None:
            self._stop_waiting()
            self._client = _client_of(header)
            self._pass_on(header.rest)

    def _pass_on(self, rest: bytes) -> None:
        self.wrappedProtocol = self.factory.wrappedFactory.buildProtocol(self.getPeer())
        self.wrappedProtocol.makeConnection(self)
        if rest:
            self.dataReceived(rest)  # unless he has been dropped

    def _expire(self) -> None:
        self._stop_waiting()
        self.factory.refusals.exceeded(self._peer_name(), "handshake-timeout")
        self.abortConnection()

    def _stop_waiting(self) -> None:
        self._reader = None
        self.factory.lobby.discard(self)
        if self._timer.active():
            self._timer.cancel()

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """No connection any more."""
        self._stop_waiting()
        self.factory.unregisterProtocol(self)
        wrapped, self.wrappedProtocol = self.wrappedProtocol, None
        if wrapped is not None:
            wrapped.connectionLost(reason)

    def abortConnection(self) -> None:
        """Nothing that has come, and was not passed on yet, will be."""
        self._is_aborted = True
        self.transport.abortConnection()

    def getPeer(self) -> Any:
        """The client, where the header names one."""
        return self._client or self.transport.getPeer()

    def _peer_name(self) -> str:
        return client_address(getattr(self.transport.getPeer(), "host", None)).name


def _client_of(header: ProxyHeader) -> IAddress | None:
    if header.source is None:
        return None
    kind = IPv4Address if header.source.version == 4 else IPv6Address
    return kind("TCP", str(header.source), header.port)


class ProxyProtocolFactory(WrappingFactory[ProxyProtocol]):
    """``factory``, TLS and all, spoken to through a proxy.

    :param lobby: where connections without a whole header wait among all others.
    :param timeout: seconds from the connection to the whole header.
    """

    noisy = False

    def __init__(
        self,
        factory: IProtocolFactory,
        lobby: PendingConnections[Any],
        refusals: RejectionLog,
        clock: IReactorTime,
        timeout: float,
    ) -> None:
        super().__init__(factory)
        self.lobby = lobby
        self.refusals = refusals
        self.clock = clock
        self.timeout = timeout

    def buildProtocol(self, addr: IAddress | None) -> ProxyProtocol:
        """For a new connection. What it wraps is made when it is known whose that is."""
        return ProxyProtocol(self)

    def logPrefix(self) -> str:
        """How the port calls itself in the log."""
        return "AudioHook (PROXY)"


def carrier(transport: Any) -> Any:
    """What carries the same octets as ``transport``, with no header to come."""
    return transport.transport if isinstance(transport, ProxyProtocol) else transport
