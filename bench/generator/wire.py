"""WebSocket frames: builds frames of a client, and parses frames of a server (pure)."""

import struct
from collections.abc import Iterator

TEXT, BINARY, CLOSE = 1, 2, 8

_FIN, _MASKED = 0x80, 0x80
#: A length field with this value: a length of 16 bits follows.
_LENGTH_16 = 126


def client_frame(opcode: int, payload: bytes, mask: bytes) -> bytes:
    """Builds a whole masked frame.

    :param payload: at most 65,535 bytes.
    :param mask: 4 bytes.
    """
    length = len(payload)
    short = length < _LENGTH_16
    head = struct.pack("!BB", _FIN | opcode, _MASKED | (length if short else _LENGTH_16))
    return head + (b"" if short else struct.pack("!H", length)) + mask + xor(payload, mask)


def xor(payload: bytes, mask: bytes) -> bytes:
    """Masks or unmasks ``payload``."""
    length = len(payload)
    pad = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload) ^ int.from_bytes(pad)).to_bytes(length)


class ServerFrames:
    """Parses the frames of a server. Rejects fragmented, masked and long messages (over 65,535 bytes)."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yields opcode and payload of each complete frame.

        :raises ValueError: a message is fragmented, masked, or too long.
        """
        self._pending += data
        while (end := self._end()) is not None:
            first, start = self._pending[0], 4 if self._pending[1] == _LENGTH_16 else 2
            if not first & _FIN:
                raise ValueError("a message in fragments")
            payload, self._pending = self._pending[start:end], self._pending[end:]
            yield first & 0x0F, payload

    def _end(self) -> int | None:
        pending = self._pending
        if len(pending) < 2:
            return None
        length, start = pending[1], 2
        if length > _LENGTH_16:
            raise ValueError("a frame that is masked, or too long")
        if length == _LENGTH_16:
            if len(pending) < 4:
                return None
            length, start = int.from_bytes(pending[2:4]), 4
        return start + length if len(pending) >= start + length else None
