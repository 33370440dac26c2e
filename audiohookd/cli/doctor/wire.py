"""A minimal blocking WebSocket client for the probe: whole messages only."""

import secrets
import socket
import struct

from audiohookd.cli.doctor.steps import ActivationError, Deadline, StepFailed

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_MAX_MESSAGE = 1 << 20


class Closed(Exception):
    """The WebSocket is closed. ``code`` is from the server's close frame; None if there was no close frame."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"{code} {reason}".strip() if code is not None else "without a close frame")
        self.code = code


class WebSocketClient:
    """The client side of a WebSocket, after the upgrade.

    :param data: the bytes that arrived after the head of the response.
    """

    def __init__(self, connection: socket.socket, data: bytes) -> None:
        self._connection = connection
        self._data = data

    def send(self, message: bytes, deadline: Deadline) -> None:
        """Sends a text message."""
        self._send(_TEXT, message, deadline)

    def close(self, deadline: Deadline) -> None:
        """Sends a close frame with code 1000."""
        self._send(_CLOSE, struct.pack("!H", 1000), deadline)

    def receive(self, deadline: Deadline) -> tuple[bytes, bool]:
        """Waits for the next message.

        :returns: its payload, and whether it is binary.
        :raises Closed: the server closed the WebSocket, or the connection was lost.
        :raises TimeoutError: no whole message arrived before the deadline.
        :raises StepFailed: a frame or message is not legal for a server, or is longer than 1 MiB.
        """
        kind, message = _TEXT, b""
        while True:
            opcode, is_last, payload = self._frame(deadline)
            if opcode == _CLOSE:
                code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005
                raise Closed(code, payload[2:].decode("utf-8", "replace"))
            if opcode == _PING:
                self._send(_PONG, payload, deadline)
            elif opcode in (_CONTINUATION, _TEXT, _BINARY):
                kind = opcode or kind
                message += payload
                if len(message) > _MAX_MESSAGE:
                    raise StepFailed("a message is longer than 1 MiB", ActivationError.MALFORMED)
                if is_last:
                    return message, kind == _BINARY

    def _frame(self, deadline: Deadline) -> tuple[int, bool, bytes]:
        first, second = self._take(2, deadline)
        if second & 0x80 or first & 0x70:
            raise StepFailed(
                "a frame is masked or compressed: this is not a WebSocket server", ActivationError.MALFORMED
            )
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(self._take(2 if size == 126 else 8, deadline))
        if size > _MAX_MESSAGE:
            raise StepFailed(f"a frame of {size} bytes is longer than 1 MiB", ActivationError.MALFORMED)
        return first & 0x0F, bool(first & 0x80), self._take(size, deadline)

    def _take(self, count: int, deadline: Deadline) -> bytes:
        while len(self._data) < count:
            self._connection.settimeout(deadline.left())
            try:
                piece = self._connection.recv(65_536)
            except TimeoutError:
                raise
            except OSError:
                piece = b""
            if not piece:
                raise Closed(None, "")
            self._data += piece
        data, self._data = self._data[:count], self._data[count:]
        return data

    def _send(self, opcode: int, payload: bytes, deadline: Deadline) -> None:
        mask = secrets.token_bytes(4)
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack("!H", size)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self._connection.settimeout(deadline.left())
        try:
            self._connection.sendall(bytes([0x80 | opcode]) + length + mask + masked)
        except ConnectionError:
            raise Closed(None, "") from None
