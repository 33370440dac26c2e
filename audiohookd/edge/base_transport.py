"""Finds the transport of the socket below a connection, and limits how much it reads at a time."""

from typing import Any, Final

from twisted.protocols.policies import ProtocolWrapper

#: Bytes read from one client at a time: enough for one frame of audio from Genesys Cloud. Twisted reads 64 KiB by
#: default. A client can put 8,000 frames into that, which take 0.4 s of the reactor's time in one turn.
READ_SIZE: Final = 4_096


def base_transport(transport: Any) -> Any:
    """Returns the transport of the socket, below TLS and the PROXY protocol."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport
