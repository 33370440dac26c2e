"""A client over a blocking socket that can also violate the protocol."""

import base64
import json
import os
import socket
import ssl
import struct
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.message_signature import sign

API_KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
SECRET = base64.b64decode("TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU=")
PATH = "/api/v1/audiohook/ws"
NULL = "00000000-0000-0000-0000-000000000000"
STEREO = {"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000}
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9
#: Seconds to wait for any answer before the test fails.
PATIENCE = 20.0


def signed_head(
    port: int,
    session: str,
    secret: bytes | None = SECRET,
    authority: str | None = None,
    created: int | None = None,
    **changed: str,
) -> bytes:
    """An upgrade request as Genesys Cloud sends it. ``changed`` replaces headers after they are signed."""
    headers = {
        "host": authority or f"127.0.0.1:{port}",
        "audiohook-organization-id": str(uuid4()),
        "audiohook-session-id": session,
        "audiohook-correlation-id": str(uuid4()),
        "x-api-key": API_KEY,
    }
    if secret is not None:
        nonce = base64.b64encode(os.urandom(18)).decode()
        fields = sign(UpgradeRequest(PATH, headers), secret, created=created or int(time.time()), nonce=nonce)
        headers |= {"signature-input": fields.signature_input, "signature": fields.signature}
    headers |= {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": base64.b64encode(os.urandom(16)).decode(),
        "sec-websocket-version": "13",
        "user-agent": "GenesysCloud-AudioHook-Client",
    }
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [f"GET {PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Caller:
    """One connection. It returns messages as dictionaries, and a WebSocket close as ``{"type": "ws-close", ...}``."""

    def __init__(
        self, port: int, head: bytes | None = None, host: str | None = None, connected: socket.socket | None = None
    ) -> None:
        self.session = str(uuid4())
        self.port = port
        self.seq = 0
        self.serverseq = 0
        self.samples = 0
        self._head = head or signed_head(port, self.session, authority=host)
        self.organization = self._header("audiohook-organization-id")
        self._buffer = b""
        self.socket = connected or socket.create_connection(("127.0.0.1", port), PATIENCE)

    def _header(self, name: str) -> str:
        lines = self._head.decode("latin-1").split("\r\n")
        return next(line.partition(": ")[2] for line in lines if line.lower().startswith(f"{name}:"))

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    # ---- HTTP ------------------------------------------------------------------------------------

    def upgrade(self) -> int:
        """Sends the request head, and returns the status."""
        self.socket.sendall(self._head)
        while b"\r\n\r\n" not in self._buffer:
            piece = self.socket.recv(4096)
            if not piece:
                break
            self._buffer += piece
        answer, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        self.answer = answer.decode("latin-1")
        return int(self.answer.split()[1])

    # ---- frames ----------------------------------------------------------------------------------

    def frame(self, opcode: int, payload: bytes, fin: bool = True) -> bytes:
        """Builds a masked frame."""
        length = len(payload)
        if length < 126:
            size = bytes([0x80 | length])
        elif length < 65536:
            size = b"\xfe" + struct.pack("!H", length)
        else:
            size = b"\xff" + struct.pack("!Q", length)
        mask = os.urandom(4)
        pad = (mask * (length // 4 + 1))[:length]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(length, "big")
        return bytes([(0x80 if fin else 0) | opcode]) + size + mask + masked

    def audio(self, data: bytes) -> None:
        """Sends a binary message in one frame."""
        self.socket.sendall(self.frame(BINARY, data))
        self.samples += len(data) // 2

    def say(self, type_: str, **parameters: Any) -> None:
        """Sends a message of the protocol."""
        self.socket.sendall(self.frame(TEXT, self.message(type_, **parameters)))

    def message(self, type_: str, **parameters: Any) -> bytes:
        """Builds the next message as JSON."""
        self.seq += 1
        position = f"PT{self.samples / 8000:.6f}S"
        envelope = {"version": "2", "id": self.session, "type": type_, "seq": self.seq, "serverseq": self.serverseq}
        return json.dumps(envelope | {"position": position, "parameters": parameters}).encode()

    def hear(self) -> dict[str, Any]:
        """Waits for the next message of the server."""
        opcode, payload = self._receive()
        if opcode == CLOSE:
            return {"type": "ws-close", "code": struct.unpack("!H", payload[:2])[0] if payload else None}
        message: dict[str, Any] = json.loads(payload)
        self.serverseq = message["seq"]
        return message

    def hears_nothing_more(self) -> bool:
        """Whether the server has closed the connection."""
        return self.socket.recv(1) == b""

    def _receive(self) -> tuple[int, bytes]:
        first, second = self._exactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self._exactly(2))
        return first & 0x0F, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError("the server has ended the connection")
            self._buffer += piece
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    # ---- calls -----------------------------------------------------------------------------------

    def open(self, media: list[dict[str, Any]] | None = None, probe: bool = False) -> dict[str, Any]:
        """Upgrades, sends ``open``, and returns the server's answer."""
        status = self.upgrade()
        if status != 101:
            raise ConnectionError(f"status {status}")
        self.say_open(media, probe)
        return self.hear()

    def say_open(self, media: list[dict[str, Any]] | None = None, probe: bool = False) -> None:
        """Sends the ``open`` message."""
        numbers = ("", "") if probe else ("+12065550100", "+12065550199")
        self.say(
            "open",
            organizationId=self.organization,
            conversationId=NULL if probe else str(uuid4()),
            participant={"id": NULL if probe else str(uuid4()), "ani": numbers[0], "aniName": "", "dnis": numbers[1]},
            media=[STEREO] if media is None else media,
        )

    def close(self) -> dict[str, Any]:
        """Sends ``close``, and returns the answer."""
        self.say("close", reason="end")
        return self.hear()


class SecureCaller(Caller):
    """A caller over TLS."""

    def __init__(
        self,
        port: int,
        certificate: Path,
        preamble: bytes = b"",
        source: str = "127.0.0.1",
        host: str | None = None,
    ) -> None:
        super().__init__(port, host=host)
        context = ssl.create_default_context(cafile=str(certificate))
        self.socket.close()
        self.socket = socket.create_connection(("127.0.0.1", port), 20, (source, 0))
        self.socket.sendall(preamble)
        self.socket = context.wrap_socket(self.socket, server_hostname=host or "calls.example.com")
