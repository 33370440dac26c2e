"""The socket below a connection, and how much is read from it at a time."""

from typing import Any, Final

from twisted.protocols.policies import ProtocolWrapper

#: Bytes read from one client at a time: a frame of audio as Genesys Cloud sends it, and some more. A client can put
#: 8,000 frames into the 64 KiB that Twisted reads by default: 0.4 s of the reactor's time in one turn.
READ_SIZE: Final = 4_096


def base_transport(transport: Any) -> Any:
    """Returns the transport of the socket, below TLS and the PROXY protocol."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport
