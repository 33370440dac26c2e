"""Reads a socket and parses whole messages, in C if the extension is compiled."""

import socket
from collections.abc import Callable

from audiohookd.edge.base_transport import READ_SIZE
from audiohookd.websocket.fastpath.frames import parse_binary_messages_in_python

try:
    from audiohookd.websocket.fastpath import _frames
except ImportError:  # not compiled
    _frames = None  # type: ignore[assignment]

Received = tuple[list[bytes], bytes]


def recv_messages_in_python(file: int) -> Received | None:
    """Reads once from a socket and parses whole binary messages. The connection must be between two messages.

    :param file: the file descriptor of the socket.
    :returns: the messages as ``parse_binary_messages`` of :mod:`audiohookd.websocket.fastpath.frames` returns them,
        and the remaining bytes. None if there is nothing to read, at the end of the stream, and after a read error;
        the caller then reads again through the transport, which finds the cause.
    """
    borrowed = socket.socket(fileno=file)
    try:
        data = borrowed.recv(READ_SIZE, socket.MSG_DONTWAIT)
    except OSError:
        return None
    finally:
        borrowed.detach()
    messages, at = parse_binary_messages_in_python(data)
    return (messages, data[at:]) if data else None


#: The compiled version of :func:`recv_messages_in_python` if there is one.
recv_messages: Callable[[int], Received | None] = getattr(_frames, "recv_messages", recv_messages_in_python)
