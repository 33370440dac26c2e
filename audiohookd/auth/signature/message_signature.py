"""HTTP message signatures as AudioHook uses them: verify and sign. Pure: no clock, no I/O, no key store.

The signature is an HMAC-SHA256 of the *base*: a line for each covered component, in the order in which the
signer lists them, and a last one with that list and the parameters (protocol section 2.3). AudioHook follows
draft 11 of what became RFC 9421; as far as it goes the two are the same.
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

# So many secrets are tried in any case, as many as a key can have. Otherwise the time taken would tell a known API
# key from an unknown one, and that a secret is just being replaced.
_TRIES = 4
_DUMMY_SECRET = bytes(32)


class Verified(NamedTuple):
    """What the signatures of a request are worth.

    `signature` is the one that counts, None where that cannot be read or the request counts as unsigned. `reason` is
    why it is refused, None if it is not.
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
    """`verify_any`, of a key with one secret."""
    return verify_any(request, None if secret is None else (secret,), now, max_age=max_age, skew=skew)


def verify_any(
    request: UpgradeRequest,
    secrets: tuple[bytes, ...] | None,
    now: float,
    *,
    max_age: float = MAX_AGE,
    skew: float = CLOCK_SKEW,
) -> Signature | None:
    """Return the first signature of a request that is genuine, complete and fresh.

    See `weigh`. None for a request that counts as unsigned, and may be that.

    :raises SignatureRefused: no signature counts. Nothing else is raised, for any request.
    """
    weighed = verify_candidates(request, secrets, now, max_age=max_age, skew=skew)
    if weighed.reason is not None:
        raise SignatureRejected(weighed.reason)
    return weighed.signature


def verify_candidates(
    request: UpgradeRequest,
    secrets: tuple[bytes, ...] | None,
    now: float,
    *,
    max_age: float = MAX_AGE,
    skew: float = CLOCK_SKEW,
) -> Verified:
    """Find the signature that counts: the first that verifies, else the one that comes closest to it.

    `secrets` is what belongs to the API key of the request, and any of them will do: None for an unknown key.
    An empty one stands for requests without a signature. Neither can succeed, and both take as long as a wrong
    signature does. With an empty one, signatures of intermediaries do not count: the request is unsigned.

    `now` is UNIX time in seconds. `created` may be `max_age` seconds ago, and the two clocks `skew` seconds
    apart in either direction, always in the signer's favour. How long after `created` the signature expires
    is not limited: in the documented example it is 52 years (protocol section 2.3).

    Whether the nonce was used before is not looked at.

    :raises SignatureRefused: the fields of the signature cannot be read.
    """
    api_key = request.header("x-api-key")
    candidates = parse(request.header("signature-input") or "", request.header("signature") or "", api_key)
    weighed = []
    for candidate in candidates:
        reason = candidate.fault
        if candidate.signature is not None:
            reason = _refusal(candidate.signature, request, secrets, now, max_age, skew)
        if reason is None:
            return Verified(candidate.signature, None)
        weighed.append(Verified(candidate.signature, reason))
    may_be_unsigned = secrets is not None and b"" in secrets
    if may_be_unsigned and not any(_is_of_client(candidate) for candidate in candidates):
        return Verified(None, None)
    return next((one for one in weighed if one.reason in _OF_GENUINE), weighed[0])


def _is_of_client(candidate: Candidate) -> bool:
    """Whether it is AudioHook's: the API key is its keyid, or it covers all that AudioHook asks for."""
    covered = candidate.signature.components if candidate.signature is not None else ()
    return candidate.names_key or set(covered).issuperset(REQUIRED_COMPONENTS)


#: What may be wrong with a signature whose MAC is right.
_OF_GENUINE = frozenset(
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


def _refusal(
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
        # The rest only after the MAC: of a forgery there is nothing more to say, nor any time to save on it.
        _check_claims(signature, request.header("x-api-key"))
        _check_time(signature, now, max_age, skew)
    except SignatureRejected as refused:
        return refused.reason
    return None


class SignatureFields(NamedTuple):
    """The values of the two header fields that make a request a signed one."""

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
    """Sign a request, whose `x-api-key` header becomes the `keyid`, as Genesys Cloud does.

    `created` and `expires` are UNIX seconds, both absolute. Nothing is checked that only `verify` has to
    know: a short nonce or a missing component makes a signature that will be refused.

    :raises SignatureRefused: a component is not in the request, so nobody could verify the signature.
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
    """The MAC of a base: a line for each component, each with its line break, and list and parameters as rendered."""
    base = f'{component_lines}"@signature-params": {rendering}'
    return hmac.digest(secret, base.encode("ascii"), hashlib.sha256)


def _is_genuine(signature: Signature, request: UpgradeRequest, secrets: list[bytes]) -> bool:
    """Whether it was made with one of them. With the dummy all the same is done, and nobody gets in."""
    lines = _component_lines(request, signature.components)
    tried = secrets + [_DUMMY_SECRET] * (_TRIES - len(secrets))
    matches = [_matches(signature, lines, secret) for secret in tried]
    return any(matches[: len(secrets)])


def _matches(signature: Signature, lines: str, secret: bytes) -> bool:
    # Bytes, not their base64 text; and compare_digest takes bytes of any length, which a peer may send.
    macs = [mac(secret, lines, text) for text in signature.renderings]
    matches = [hmac.compare_digest(one, signature.value) for one in macs]  # all of them, always
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
