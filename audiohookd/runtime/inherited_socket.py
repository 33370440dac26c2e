"""Leaves a Unix socket that systemd has opened as the socket unit created it.

Twisted changes the mode of such a socket to 0666, which fails if root owns the file, and shortens its queue to 50.
When it stops, it shuts the socket down and removes its file, so that systemd cannot start the daemon by it again. It
does not do so for TCP sockets.
"""

import os
import socket

from twisted.internet import unix
from twisted.internet.defer import Deferred, execute
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.fdesc import setNonBlocking
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer


def as_inherited(endpoint: IStreamServerEndpoint) -> IStreamServerEndpoint:
    """Wraps an endpoint with an inherited Unix socket; returns any other endpoint unchanged."""
    if isinstance(endpoint, AdoptedStreamServerEndpoint) and endpoint.addressFamily == socket.AF_UNIX:
        return InheritedSocket(endpoint)
    return endpoint


@implementer(IStreamServerEndpoint)
class InheritedSocket:
    """An endpoint on an open socket. It can listen once."""

    def __init__(self, adopted: AdoptedStreamServerEndpoint) -> None:
        self._adopted = adopted

    def listen(self, protocolFactory: IProtocolFactory) -> "Deferred[IListeningPort]":
        """See :class:`IStreamServerEndpoint`."""
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        file = self._adopted.fileno
        setNonBlocking(file)
        port = unix.Port._fromListeningDescriptor(self._adopted.reactor, file, factory)
        # Twisted does not touch the file of a name that looks abstract. The name also appears in a log line.
        port._bindPath = b"\0" + port._bindPath
        port._shouldShutdown = False  # as it does with TCP
        port.backlog = socket.SOMAXCONN  # the kernel lowers it to net.core.somaxconn
        port.startListening()
        os.close(file)  # the port has a copy
        listening: IListeningPort = port
        return listening
