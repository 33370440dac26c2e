"""The upgrade to a WebSocket: the request as Genesys Cloud sends it, and the response (pure)."""

import base64
import hashlib
import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.message_signature import sign
from audiohookd.cli.target import Target

USER_AGENT = "GenesysCloud-AudioHook-Client"
#: Seconds for which a signature of Genesys Cloud is valid.
LIFETIME = 30

_MAX_HEAD = 65_536
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_STATUS_LINE = re.compile(r"HTTP/1\.[01] (\d{3})(?: (.*))?")

_MEANINGS: Final[Mapping[int, str]] = {
    400: "the server does not see an AudioHook request: does a proxy remove headers?",
    401: "key or signature rejected: run `audiohookctl explain-signature --recent` on the daemon's machine",
    403: "forbidden by a list of allowed addresses, or by a web application firewall",
    404: "nothing is served at this path: compare it with [[route]] of the daemon and with the proxy's configuration",
    408: "timed out: the request did not arrive completely",
    421: "the proxy has no site of this name",
    426: "the server did not see the upgrade: make the proxy forward the headers Connection and Upgrade",
    429: "rate limit: too many requests at once",
    431: "the request is larger than the server allows",
    500: "internal error of the server: see its log",
    502: "the proxy cannot reach the daemon: does the daemon run, and is the proxy's upstream address right?",
    503: "the server accepts no calls now: does the daemon run? is it at its call limit? is its disk full?",
    504: "timed out: the proxy got no response from the daemon",
}


def _uuid() -> str:
    return str(uuid.uuid4())


def _nonce() -> str:
    return base64.b64encode(secrets.token_bytes(18)).decode()


@dataclass(frozen=True)
class Identity:
    """The session, organization and correlation ids of a request. Default: random UUIDs."""

    session: str = field(default_factory=_uuid)
    organization: str = field(default_factory=_uuid)
    correlation: str = field(default_factory=_uuid)


@dataclass(frozen=True)
class Signing:
    """The parameters of a signature. ``created`` in UNIX seconds, ``lifetime`` in seconds."""

    created: int
    lifetime: int = LIFETIME
    nonce: str = field(default_factory=_nonce)


class Request(NamedTuple):
    """The bytes of an upgrade request, and its ``Sec-WebSocket-Key``."""

    head: bytes
    key: str


class Response(NamedTuple):
    """The head of a response. ``rest``: the bytes that arrived after it."""

    status: int
    phrase: str
    headers: Mapping[str, str]
    rest: bytes

    def __str__(self) -> str:
        return f"{self.status} {self.phrase}".rstrip()


class NotUpgraded(ValueError):
    """The response is not HTTP, or the upgrade in it is wrong. The text is for the user."""


def headers_of(target: Target, key: str, secret: bytes, identity: Identity, signing: Signing) -> dict[str, str]:
    """``Host`` and the AudioHook headers, plus ``Signature-Input`` and ``Signature`` unless the secret is empty.

    :raises ValueError: the nonce contains a character that is not printable ASCII.
    """
    headers = {
        "Host": target.authority,
        "Audiohook-Organization-Id": identity.organization,
        "Audiohook-Session-Id": identity.session,
        "Audiohook-Correlation-Id": identity.correlation,
        "X-API-KEY": key,
    }
    if secret:
        fields = sign(
            UpgradeRequest(target.resource, {name.lower(): value for name, value in headers.items()}),
            secret,
            created=signing.created,
            expires=signing.created + signing.lifetime,
            nonce=signing.nonce,
        )
        headers |= {"Signature-Input": fields.signature_input, "Signature": fields.signature}
    return headers


def upgrade_headers() -> dict[str, str]:
    """The headers that request an upgrade to a WebSocket."""
    return {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode(),
        "User-Agent": USER_AGENT,
    }


def request(target: Target, key: str, secret: bytes, identity: Identity, created: int) -> Request:
    """Builds an upgrade request. It is signed at ``created`` (UNIX seconds) unless the secret is empty."""
    headers = headers_of(target, key, secret, identity, Signing(created)) | upgrade_headers()
    lines = [f"GET {target.resource} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return Request("\r\n".join([*lines, "", ""]).encode("latin-1"), headers["Sec-WebSocket-Key"])


def read_response(data: bytes) -> Response | None:
    """Parses the head of a response. None: it is not complete.

    :raises NotUpgraded: it is not HTTP.
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end and len(data) <= _MAX_HEAD:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    found = _STATUS_LINE.fullmatch(first)
    if not found or not end:
        raise NotUpgraded("the response is not HTTP")
    pairs = (line.partition(":") for line in lines)
    return Response(int(found[1]), (found[2] or "")[:80], {n.strip().lower(): v.strip() for n, _, v in pairs}, rest)


def check_upgrade(response: Response, key: str) -> None:
    """Checks a response with status 101 to the request with this ``Sec-WebSocket-Key``.

    :raises NotUpgraded: the response belongs to another request, or has an extension that was not requested.
    """
    digest = hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()
    if response.headers.get("sec-websocket-accept") != base64.b64encode(digest).decode():
        raise NotUpgraded(
            "101, but Sec-WebSocket-Accept is wrong: a proxy upgrades by itself, or responds from a cache"
        )
    for name in ("sec-websocket-extensions", "sec-websocket-protocol"):
        if name in response.headers:
            raise NotUpgraded(f"101, but with the header {name}, which was not requested")


def meaning(response: Response) -> str:
    """Explains a status other than 101, and says what to check."""
    status = response.status
    if 300 <= status < 400:
        where = response.headers.get("location", "nowhere")[:200]
        return f"a redirect to {where}, but Genesys Cloud follows none: enter that address, or remove the redirect"
    if 200 <= status < 300:
        return "a web page instead of a WebSocket: the path or the proxy leads to another server"
    return _MEANINGS.get(status, "see the logs of the proxy and of the daemon")
