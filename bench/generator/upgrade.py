"""The signed upgrade request of one call, as Genesys Cloud sends it."""

import base64
import hashlib
import json
import os
import time
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.message_signature import sign

PATH = "/api/v1/audiohook/ws"
#: Seconds that a signature is valid.
_LIFETIME = 30
#: The GUID of RFC 6455, section 1.3.
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Identity(NamedTuple):
    """The organization and the API key of the calls."""

    host: str  # with the port
    organization_id: str
    api_key: str
    secret: bytes


class Upgrade(NamedTuple):
    """A request head, and the ``Sec-WebSocket-Accept`` of its response."""

    head: bytes
    accept: bytes

    def is_accepted(self, answer: bytes) -> bool:
        """Whether the server accepted the upgrade. ``answer`` is the head of its response."""
        return answer.startswith(b"HTTP/1.1 101 ") and self.accept in answer


def read_key(keys_file: Path) -> tuple[str, bytes]:
    """The first API key of a keys file, and its secret."""
    api_key, secret = next(iter(json.loads(keys_file.read_text()).items()))
    return api_key, base64.b64decode(secret)


def upgrade(identity: Identity, session_id: str) -> Upgrade:
    """Builds the request of one call, signed with the current time."""
    signed = {
        "host": identity.host,
        "audiohook-organization-id": identity.organization_id,
        "audiohook-session-id": session_id,
        "audiohook-correlation-id": str(uuid4()),
        "x-api-key": identity.api_key,
    }
    now = int(time.time())
    nonce = base64.b64encode(os.urandom(18)).decode()
    fields = sign(UpgradeRequest(PATH, signed), identity.secret, created=now, expires=now + _LIFETIME, nonce=nonce)
    key = base64.b64encode(os.urandom(16))
    headers = signed | {
        "signature-input": fields.signature_input,
        "signature": fields.signature,
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-key": key.decode(),
        "sec-websocket-version": "13",
        "user-agent": "GenesysCloud-AudioHook-Client",
    }
    lines = [f"GET {PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    accept = base64.b64encode(hashlib.sha1(key + _MAGIC).digest())  # noqa: S324 - RFC 6455 requires it
    return Upgrade("\r\n".join([*lines, "", ""]).encode(), accept)
