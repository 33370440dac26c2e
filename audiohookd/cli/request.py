"""Builds an upgrade request as Genesys Cloud does."""

import base64
import secrets
import uuid
from dataclasses import dataclass, field

from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.message_signature import sign
from audiohookd.cli.target import Target

USER_AGENT = "GenesysCloud-AudioHook-Client"
#: Seconds for which a signature of Genesys Cloud is valid.
LIFETIME = 30


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


def authority(target: Target) -> str:
    """The ``Host`` header of a URL. It omits the default port of the scheme."""
    host = f"[{target.host}]" if ":" in target.host else target.host
    return host if target.port == (443 if target.is_secure else 80) else f"{host}:{target.port}"


def headers_of(target: Target, key: str, secret: bytes, identity: Identity, signing: Signing) -> dict[str, str]:
    """``Host`` and the AudioHook headers, plus ``Signature-Input`` and ``Signature`` unless the secret is empty.

    :raises ValueError: the nonce contains a character that is not printable ASCII.
    """
    headers = {
        "Host": authority(target),
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
