"""Accepts connections from a proxy that names the client of each in a PROXY protocol header.

Unlike Twisted's own wrapper, this builds the wrapped protocol only when the header has been read. So that protocol
knows the client's address when its connection is made, as on any other port, and a rejected client is dropped before
the TLS handshake.
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
    """One connection. Passes all bytes after the header to the wrapped protocol, unchanged and unbuffered."""

    factory: "ProxyProtocolFactory"
    transport: Any
    wrappedProtocol: Any  # None until the header has been read

    def __init__(self, factory: "ProxyProtocolFactory") -> None:
        super().__init__(factory, None)  # type: ignore[arg-type]
        self._reader: ProxyHeaderReader | None = ProxyHeaderReader()  # None: the header has been read
        self._client: IAddress | None = None
        self._is_aborted = False

    def logPrefix(self) -> str:
        """Returns the name of the protocol in the log."""
        return self.factory.logPrefix()

    def makeConnection(self, transport: Any) -> None:
        """Starts to wait for the header on a new connection."""
        directlyProvides(self, providedBy(transport))
        Protocol.makeConnection(self, transport)
        self.factory.registerProtocol(self)
        base_transport(transport).bufferSize = READ_SIZE
        self._timer = self.factory.clock.callLater(self.factory.timeout, self._expire)
        self.factory.pending.add(self)

    def dataReceived(self, data: bytes) -> None:
        """Handles received bytes: first the header, then the data of the client."""
        if self._reader is not None:
            self._read(self._reader, data)
        elif self.wrappedProtocol is not None and not self._is_aborted:
            self.wrappedProtocol.dataReceived(data)

    def _read(self, reader: ProxyHeaderReader, data: bytes) -> None:
        try:
            header = reader.feed(data)
        except ValueError as error:
            self._stop_waiting()
            self.factory.rejection_log.dropped(self._peer_name(), str(error))
            self.abortConnection()
            return
        if header is not None:
            self._stop_waiting()
            self._client = _client_of(header)
            self._connect_wrapped(header.rest)

    def _connect_wrapped(self, rest: bytes) -> None:
        self.wrappedProtocol = self.factory.wrappedFactory.buildProtocol(self.getPeer())
        self.wrappedProtocol.makeConnection(self)
        if rest:
            self.dataReceived(rest)  # dropped if the wrapped protocol has aborted the connection

    def _expire(self) -> None:
        self._stop_waiting()
        self.factory.rejection_log.exceeded(self._peer_name(), "handshake-timeout")
        self.abortConnection()

    def _stop_waiting(self) -> None:
        self._reader = None
        self.factory.pending.discard(self)
        if self._timer.active():
            self._timer.cancel()

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """Cleans up, and passes the loss on to the wrapped protocol."""
        self._stop_waiting()
        self.factory.unregisterProtocol(self)
        wrapped, self.wrappedProtocol = self.wrappedProtocol, None
        if wrapped is not None:
            wrapped.connectionLost(reason)

    def abortConnection(self) -> None:
        """Closes the connection at once. Bytes that the wrapped protocol has not received are discarded."""
        self._is_aborted = True
        self.transport.abortConnection()

    def getPeer(self) -> Any:
        """Returns the address of the client if the header names one, else that of the proxy."""
        return self._client or self.transport.getPeer()

    def _peer_name(self) -> str:
        return client_address(getattr(self.transport.getPeer(), "host", None)).name


def _client_of(header: ProxyHeader) -> IAddress | None:
    if header.source is None:
        return None
    kind = IPv4Address if header.source.version == 4 else IPv6Address
    return kind("TCP", str(header.source), header.port)


class ProxyProtocolFactory(WrappingFactory[ProxyProtocol]):
    """Puts the PROXY protocol in front of ``factory``, and of its TLS.

    :param pending: the pending connections of the port, which include those without a complete header.
    :param timeout: seconds from the connection to the complete header.
    """

    noisy = False

    def __init__(
        self,
        factory: IProtocolFactory,
        pending: PendingConnections[Any],
        rejection_log: RejectionLog,
        clock: IReactorTime,
        timeout: float,
    ) -> None:
        super().__init__(factory)
        self.pending = pending
        self.rejection_log = rejection_log
        self.clock = clock
        self.timeout = timeout

    def buildProtocol(self, addr: IAddress | None) -> ProxyProtocol:
        """Builds the protocol of a new connection. The wrapped protocol is built when the header has been read."""
        return ProxyProtocol(self)

    def logPrefix(self) -> str:
        """Returns the name of the port in the log."""
        return "AudioHook (PROXY)"


def carrier(transport: Any) -> Any:
    """Returns the transport below the PROXY protocol, which carries the same bytes once the header has been read."""
    return transport.transport if isinstance(transport, ProxyProtocol) else transport
