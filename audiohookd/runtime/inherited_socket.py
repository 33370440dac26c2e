"""A socket of the file system that systemd has opened: it stays as the socket unit made it.

Twisted changes the mode of such a socket to 0666, which fails where the file belongs to root, and shortens its queue
to 50. When it stops it shuts the socket down and removes its file, so that systemd cannot start the daemon by it
again. Sockets of TCP it leaves alone.
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
    """``endpoint``, or one that leaves its socket as it is."""
    if isinstance(endpoint, AdoptedStreamServerEndpoint) and endpoint.addressFamily == socket.AF_UNIX:
        return InheritedSocket(endpoint)
    return endpoint


@implementer(IStreamServerEndpoint)
class InheritedSocket:
    """An endpoint with a socket that is open already. It can be used once."""

    def __init__(self, adopted: AdoptedStreamServerEndpoint) -> None:
        self._adopted = adopted

    def listen(self, protocolFactory: IProtocolFactory) -> "Deferred[IListeningPort]":
        """See :class:`IStreamServerEndpoint`."""
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        file = self._adopted.fileno
        setNonBlocking(file)
        port = unix.Port._fromListeningDescriptor(self._adopted.reactor, file, factory)
        # Twisted leaves a name alone that looks like one of the abstract ones, and has it in a log line besides.
        port._bindPath = b"\0" + port._bindPath
        port._shouldShutdown = False  # as it does with TCP
        port.backlog = socket.SOMAXCONN  # the kernel lowers it to net.core.somaxconn
        port.startListening()
        os.close(file)  # the port has a copy
        listening: IListeningPort = port
        return listening
