"""HTTP message signatures as AudioHook uses them: verify and sign. Pure: no clock, no I/O, no key store.

The signature is an HMAC-SHA256 of the *base*: a line for each covered component, in the signer's order, and a last
line with the list of components and the parameters (protocol section 2.3). AudioHook follows draft 11 of RFC 9421,
which does not differ from the RFC in the parts that AudioHook uses.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Any, NamedTuple

import http_sf

from audiohookd.auth.rejection import RejectionReason, SignatureRejected, require
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.fields import Candidate, Signature, parse

REQUIRED_COMPONENTS = (
    "@request-target",
    "@authority",
    "audiohook-organization-id",
    "audiohook-session-id",
    "audiohook-correlation-id",
    "x-api-key",
)
MAX_AGE = 10  # seconds
CLOCK_SKEW = 3  # seconds
MIN_NONCE_LENGTH = 22  # characters: 128 random bits in base64

_ALGORITHM = "hmac-sha256"

# This many secrets are always tried, as many as a key can have. Otherwise the response time would reveal whether an
# API key is known, and whether its secret is being rotated.
_TRIES = 4
_DUMMY_SECRET = bytes(32)


class Verified(NamedTuple):
    """The result of verifying the signatures of a request.

    ``signature`` is the decisive one; None if it is malformed, or if the request counts as unsigned. ``reason`` is
    why the request is rejected; None if it is not.
    """

    signature: Signature | None
    reason: RejectionReason | None


def verify(
    request: UpgradeRequest,
    secret: bytes | None,
    now: float,
    *,
    max_age: float = MAX_AGE,
    skew: float = CLOCK_SKEW,
) -> Signature | None:
    """As :func:`verify_any`, for a key with one secret."""
    return verify_any(request, None if secret is None else (secret,), now, max_age=max_age, skew=skew)


def verify_any(
    request: UpgradeRequest,
    secrets: tuple[bytes, ...] | None,
    now: float,
    *,
    max_age: float = MAX_AGE,
    skew: float = CLOCK_SKEW,
) -> Signature | None:
    """Returns the first signature of a request that is genuine, complete and fresh.

    Returns None for a request that counts as unsigned and may be unsigned. See :func:`verify_candidates`.

    :raises SignatureRejected: no signature is valid. No request raises anything else.
    """
    verified = verify_candidates(request, secrets, now, max_age=max_age, skew=skew)
    if verified.reason is not None:
        raise SignatureRejected(verified.reason)
    return verified.signature


def verify_candidates(
    request: UpgradeRequest,
    secrets: tuple[bytes, ...] | None,
    now: float,
    *,
    max_age: float = MAX_AGE,
    skew: float = CLOCK_SKEW,
) -> Verified:
    """Verifies the signatures of a request, and returns the first valid one, else the closest to valid.

    Does not check whether the nonce was used before. The time after ``created`` at which a signature expires is not
    limited: in the documented example it is 52 years (protocol section 2.3).

    :param secrets: the secrets of the request's API key, any of which may have been used; None for an unknown key. An
        empty secret allows unsigned requests: then the signatures of intermediaries are ignored, and the request
        counts as unsigned. No signature verifies with an empty secret or an unknown key, and checking it takes as
        long as for a wrong signature.
    :param now: UNIX time in seconds.
    :param max_age: seconds for which a signature is valid after ``created``.
    :param skew: seconds by which the two clocks may differ, in either direction, in the signer's favour.
    :raises SignatureRejected: the fields of the signature are malformed.
    """
    api_key = request.header("x-api-key")
    candidates = parse(request.header("signature-input") or "", request.header("signature") or "", api_key)
    results = []
    for candidate in candidates:
        reason = candidate.fault
        if candidate.signature is not None:
            reason = _rejection(candidate.signature, request, secrets, now, max_age, skew)
        if reason is None:
            return Verified(candidate.signature, None)
        results.append(Verified(candidate.signature, reason))
    may_be_unsigned = secrets is not None and b"" in secrets
    if may_be_unsigned and not any(_is_of_client(candidate) for candidate in candidates):
        return Verified(None, None)
    return next((verified for verified in results if verified.reason in _GENUINE_REASONS), results[0])


def _is_of_client(candidate: Candidate) -> bool:
    """Whether it is an AudioHook signature: its keyid is the API key, or it covers all required components."""
    covered = candidate.signature.components if candidate.signature is not None else ()
    return candidate.names_key or set(covered).issuperset(REQUIRED_COMPONENTS)


#: Reasons to reject a signature with a correct MAC.
_GENUINE_REASONS = frozenset(
    {
        RejectionReason.COMPONENT_NOT_COVERED,
        RejectionReason.ALGORITHM_UNSUPPORTED,
        RejectionReason.KEYID_MISMATCH,
        RejectionReason.NONCE_TOO_SHORT,
        RejectionReason.TOO_OLD,
        RejectionReason.NOT_YET_VALID,
        RejectionReason.EXPIRED,
    }
)


def _rejection(
    signature: Signature,
    request: UpgradeRequest,
    secrets: tuple[bytes, ...] | None,
    now: float,
    max_age: float,
    skew: float,
) -> RejectionReason | None:
    real = [secret for secret in secrets or () if secret]
    try:
        genuine = _is_genuine(signature, request, real)
        require(secrets is not None, RejectionReason.API_KEY_UNKNOWN)
        require(bool(real), RejectionReason.SIGNATURE_UNEXPECTED)
        require(genuine, RejectionReason.SIGNATURE_WRONG)
        # Only after the MAC: the claims of a forged signature do not matter.
        _check_claims(signature, request.header("x-api-key"))
        _check_time(signature, now, max_age, skew)
    except SignatureRejected as rejected:
        return rejected.reason
    return None


class SignatureFields(NamedTuple):
    """The values of the two header fields of a signature."""

    signature_input: str
    signature: str


def sign(
    request: UpgradeRequest,
    secret: bytes,
    *,
    created: int,
    nonce: str,
    expires: int | None = None,
    components: Iterable[str] = REQUIRED_COMPONENTS,
    label: str = "sig1",
) -> SignatureFields:
    """Signs a request as Genesys Cloud does, with its ``x-api-key`` header as ``keyid``.

    ``created`` and ``expires`` are UNIX seconds, both absolute. A short nonce or a missing component is not an error
    here, but the signature will be rejected.

    :raises SignatureRejected: a component is not in the request, so the signature could not be verified.
    :raises ValueError: nonce, API key or label have characters that structured fields do not allow.
    """
    parameters: dict[str, str | int] = {
        "keyid": request.component("x-api-key"),
        "nonce": nonce,
        "alg": _ALGORITHM,
        "created": created,
    }
    if expires is not None:
        parameters["expires"] = expires
    names = tuple(components)
    covered: tuple[Any, Any] = ([(name, {}) for name in names], parameters)
    value = mac(secret, _component_lines(request, names), http_sf.ser([covered]))
    return SignatureFields(http_sf.ser({label: covered}), http_sf.ser({label: value}))


def _component_lines(request: UpgradeRequest, names: Iterable[str]) -> str:
    return "".join(f"{http_sf.ser(name)}: {request.component(name)}\n" for name in names)


def mac(secret: bytes, component_lines: str, rendering: str) -> bytes:
    """Returns the MAC of a base.

    :param component_lines: a line for each component, each with its line break.
    :param rendering: the list of components with the parameters.
    """
    base = f'{component_lines}"@signature-params": {rendering}'
    return hmac.digest(secret, base.encode("ascii"), hashlib.sha256)


def _is_genuine(signature: Signature, request: UpgradeRequest, secrets: list[bytes]) -> bool:
    """Whether the signature was made with one of the secrets. The dummy secrets only make the time constant."""
    lines = _component_lines(request, signature.components)
    tried = secrets + [_DUMMY_SECRET] * (_TRIES - len(secrets))
    matches = [_matches(signature, lines, secret) for secret in tried]
    return any(matches[: len(secrets)])


def _matches(signature: Signature, lines: str, secret: bytes) -> bool:
    # Compares bytes, not base64 text. compare_digest accepts any length, and a peer may send any.
    macs = [mac(secret, lines, text) for text in signature.renderings]
    matches = [hmac.compare_digest(expected, signature.value) for expected in macs]  # all, for constant time
    return any(matches)


def _check_claims(signature: Signature, api_key: str | None) -> None:
    require(set(signature.components).issuperset(REQUIRED_COMPONENTS), RejectionReason.COMPONENT_NOT_COVERED)
    require(signature.alg in {None, _ALGORITHM}, RejectionReason.ALGORITHM_UNSUPPORTED)
    require(signature.keyid == api_key, RejectionReason.KEYID_MISMATCH)
    require(len(signature.nonce) >= MIN_NONCE_LENGTH, RejectionReason.NONCE_TOO_SHORT)


def _check_time(signature: Signature, now: float, max_age: float, skew: float) -> None:
    require(signature.created >= now - max_age - skew, RejectionReason.TOO_OLD)
    require(signature.created <= now + skew, RejectionReason.NOT_YET_VALID)
    require(signature.expires is None or signature.expires >= now - skew, RejectionReason.EXPIRED)
