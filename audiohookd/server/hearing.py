"""What a socket has to say, as whole messages where it can."""

import socket
from collections.abc import Callable
from typing import Final

from audiohookd.server.frames import cut_in_python

try:
    from audiohookd.server import _frames
except ImportError:  # there was no compiler
    _frames = None  # type: ignore[assignment]

#: Bytes read from one client at a time: a frame of audio as Genesys Cloud sends it, and some. Of 64 KiB, which is
#: Twisted's own, a client can make 8,000 frames: 0.4 s of everybody's time in one turn.
READ_SIZE: Final = 4_096

Heard = tuple[list[bytes], bytes]


def hear_in_python(file: int) -> Heard | None:
    """Reads once from the socket with this number: messages as :func:`audiohookd.server.frames.cut` makes them, and
    what is left. What is in the middle of something must not be read in this way.

    None when nothing is there, at the end, and when the connection is broken: it is to be read once more.
    """
    ear = socket.socket(fileno=file)
    try:
        data = ear.recv(READ_SIZE, socket.MSG_DONTWAIT)
    except OSError:
        return None
    finally:
        ear.detach()
    messages, at = cut_in_python(data)
    return (messages, data[at:]) if data else None


#: The same, compiled if it can be.
hear: Callable[[int], Heard | None] = getattr(_frames, "hear", hear_in_python)
