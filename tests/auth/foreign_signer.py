"""A signer of AudioHook requests that shares no code with the daemon: text put together, and an HMAC."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence

from audiohookd.auth.request import UpgradeRequest

# The documented example (protocol section 2.3).
SECRET_TEXT = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="
SECRET = base64.b64decode(SECRET_TEXT)
API_KEY = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh"
ORGANIZATION = "d7934305-0972-4844-938e-9060eef73d05"
SESSION = "30b0e395-84d3-4570-ac13-9a62d8f514c0"
CORRELATION = "e160e428-53e2-487c-977d-96989bf5c99d"
TARGET = "/api/v1/voicebiometrics/ws"
HOST = "audiohook.example.com"
NONCE = "VGhpc0lzQVVuaXF1ZU5vbmNl"
CREATED = 1641013200
EXPIRES = 3282026430
DOCUMENTED_SIGNATURE = "NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4="

SIX = (
    "@request-target",
    "@authority",
    "audiohook-organization-id",
    "audiohook-session-id",
    "audiohook-correlation-id",
    "x-api-key",
)
HEADERS = {
    "host": HOST,
    "audiohook-organization-id": ORGANIZATION,
    "audiohook-session-id": SESSION,
    "audiohook-correlation-id": CORRELATION,
    "x-api-key": API_KEY,
}
PARAMETERS = {
    "keyid": f'"{API_KEY}"',
    "nonce": f'"{NONCE}"',
    "alg": '"hmac-sha256"',
    "created": str(CREATED),
    "expires": str(EXPIRES),
}


def unsigned(**headers: str | None) -> UpgradeRequest:
    """The documented request without its signature."""
    return replaced(UpgradeRequest(TARGET, HEADERS), **headers)


def without_none(texts: Mapping[str, str | None]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text is not None}


def rendering(components: Sequence[str] = SIX, **parameters: str | None) -> str:
    """Component list and parameters as a signer writes them. Parameters are raw text, None leaves one out."""
    listed = " ".join(f'"{name}"' for name in components)
    return f"({listed})" + "".join(f";{n}={t}" for n, t in without_none(PARAMETERS | parameters).items())


def signed(
    covered: Sequence[str] = SIX,
    *,
    text: str | None = None,
    values: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    secret: bytes = SECRET,
    label: str = "sig1",
    **parameters: str | None,
) -> UpgradeRequest:
    """A request signed over `covered`; `text` is the component list and parameters where they are odd.

    `values` are what the signer took for components that the request does not spell in the same way.
    """
    sent = {**HEADERS, **(headers or {})}
    taken = {"@request-target": TARGET, "@authority": HOST, **sent, **(values or {})}
    text = rendering(covered, **parameters) if text is None else text
    base = "".join(f'"{name}": {taken[name]}\n' for name in covered) + f'"@signature-params": {text}'
    mac = base64.b64encode(hmac.new(secret, base.encode("latin-1"), hashlib.sha256).digest()).decode()
    fields = {"signature-input": f"{label}={text}", "signature": f"{label}=:{mac}:"}
    return UpgradeRequest(TARGET, sent | fields)


def replaced(request: UpgradeRequest, **headers: str | None) -> UpgradeRequest:
    """The same request with other header values, and the signature it had; None leaves a header out."""
    changes = {name.replace("_", "-"): text for name, text in headers.items()}
    return UpgradeRequest(request.target, without_none({**request.headers, **changes}), request.authority)
