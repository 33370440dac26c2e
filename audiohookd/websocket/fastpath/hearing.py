"""What a socket has to say, as whole messages where it can."""

import socket
from collections.abc import Callable

from audiohookd.edge.base_transport import READ_SIZE
from audiohookd.websocket.fastpath.frames import parse_binary_messages_in_python

try:
    from audiohookd.websocket.fastpath import _frames
except ImportError:  # there was no compiler
    _frames = None  # type: ignore[assignment]

Received = tuple[list[bytes], bytes]


def recv_messages_in_python(file: int) -> Received | None:
    """Reads once from a socket, and parses whole binary messages. Not for a connection in the middle of a message.

    :param file: the file descriptor of the socket.
    :returns: the messages as ``parse_binary_messages`` of :mod:`audiohookd.websocket.fastpath.frames` returns
        them, and the rest.

    None when nothing is there, at the end, and when the connection is broken: it is to be read once more.
    """
    ear = socket.socket(fileno=file)
    try:
        data = ear.recv(READ_SIZE, socket.MSG_DONTWAIT)
    except OSError:
        return None
    finally:
        ear.detach()
    messages, at = parse_binary_messages_in_python(data)
    return (messages, data[at:]) if data else None


#: The same, compiled if it can be.
recv_messages: Callable[[int], Received | None] = getattr(_frames, "recv_messages", recv_messages_in_python)
