"""The frames of a WebSocket, as a client sends and receives them (pure)."""

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

_CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
#: Larger than the protocol allows, so that the session itself can report error 413.
MAX_MESSAGE = 1 << 20
#: Close codes of a normal end. 1005: the close frame has no code.
NORMAL_CLOSURE, NO_CODE = 1000, 1005

_FIN, _MASKED = 0x80, 0x80
_RESERVED = 0x70
_MAX_CONTROL = 125
#: Length fields with these values: a length of 16 or 64 bits follows.
_LENGTH_16, _LENGTH_64 = 126, 127


class MalformedFrame(ValueError):
    """A frame or message is not legal for a server, or is too long. The text says what is wrong."""


class Close(NamedTuple):
    """The content of a close frame."""

    code: int
    reason: str


def frame(opcode: int, payload: bytes, mask: bytes | None = None) -> bytes:
    """Builds a whole frame.

    :param mask: 4 bytes; None: random ones.
    """
    length = len(payload)
    if length < _LENGTH_16:
        head = struct.pack("!BB", _FIN | opcode, _MASKED | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", _FIN | opcode, _MASKED | _LENGTH_16, length)
    else:
        head = struct.pack("!BBQ", _FIN | opcode, _MASKED | _LENGTH_64, length)
    mask = mask or os.urandom(4)
    return head + mask + xor(payload, mask)


def xor(payload: bytes, mask: bytes) -> bytes:
    """Masks or unmasks ``payload``. As integers this is a hundred times faster than byte by byte."""
    length = len(payload)
    pad = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload) ^ int.from_bytes(pad)).to_bytes(length)


def close_frame(code: int = NORMAL_CLOSURE) -> bytes:
    """Builds a close frame."""
    return frame(CLOSE, struct.pack("!H", code))


def read_close(payload: bytes) -> Close:
    """Parses the payload of a close frame."""
    code = int.from_bytes(payload[:2]) if len(payload) >= 2 else NO_CODE
    return Close(code, payload[2:].decode("utf-8", "replace"))


class ServerFrames:
    """Parses the frames of a server, and joins the fragments of messages."""

    def __init__(self) -> None:
        self._pending = b""
        self._opcode = _CONTINUATION  # of the message in fragments; _CONTINUATION if there is none
        self._message = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yields opcode and payload of each complete message and control frame.

        :raises MalformedFrame: a frame is not legal for a server, or a message is longer than :data:`MAX_MESSAGE`.
        """
        self._pending += data
        while (found := self._next_frame()) is not None:
            first, payload = found
            opcode = first & 0x0F
            if opcode >= CLOSE:
                yield opcode, payload
                continue
            if (opcode == _CONTINUATION) != (self._opcode != _CONTINUATION):
                raise MalformedFrame("a message begins or continues within another one")
            self._opcode = opcode or self._opcode
            self._message += payload
            if len(self._message) > MAX_MESSAGE:
                raise MalformedFrame("a message is longer than 1 MiB")
            if first & _FIN:
                whole = self._opcode, self._message
                self._opcode, self._message = _CONTINUATION, b""
                yield whole

    def _next_frame(self) -> tuple[int, bytes] | None:
        """The first byte and the payload of the next frame. None: it is not complete."""
        pending = self._pending
        if len(pending) < 2:
            return None
        first, length = pending[0], pending[1]
        if length & _MASKED or first & _RESERVED:
            raise MalformedFrame("a frame is masked or compressed: this is not a WebSocket server")
        if first & 0x0F not in (_CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise MalformedFrame(f"a frame has the unknown opcode {first & 0x0F}")
        if first & CLOSE and (length > _MAX_CONTROL or not first & _FIN):
            raise MalformedFrame("a control frame is fragmented or too long")
        start = 2 + {_LENGTH_16: 2, _LENGTH_64: 8}.get(length, 0)
        if len(pending) < start:
            return None
        if start > 2:
            length = int.from_bytes(pending[2:start])
        if length > MAX_MESSAGE:
            raise MalformedFrame(f"a frame of {length} bytes is longer than 1 MiB")
        end = start + length
        if len(pending) < end:
            return None
        self._pending = pending[end:]
        return first, pending[start:end]
