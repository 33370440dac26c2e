"""What became of a request: its signature, or the reason of its refusal."""

import pytest

from audiohookd.auth.rejection import RejectionReason, SignatureRejected
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.fields import Signature, parse
from audiohookd.auth.signature.message_signature import verify
from tests.auth.foreign_signer import API_KEY, CREATED, NONCE, SECRET

#: A well-formed signature input in an unusual spelling.
ODD = (
    '(  "@request-target" "@authority"  "audiohook-organization-id" "audiohook-session-id" '
    f'"audiohook-correlation-id" "x-api-key" ); keyid="{API_KEY}"; nonce="{NONCE}";'
    f"created=0{CREATED};z;y=?1"
)


def parsed(signature_input: str, signature: str) -> Signature:
    """The first signature, or the refusal of the first label."""
    candidate = parse(signature_input, signature)[0]
    if candidate.fault is not None:
        raise SignatureRejected(candidate.fault)
    assert candidate.signature is not None
    return candidate.signature


def verified(request: UpgradeRequest, secret: bytes | None = SECRET, now: float = CREATED) -> Signature:
    signature = verify(request, secret, now)
    assert signature is not None
    return signature


def refusal(request: UpgradeRequest, secret: bytes | None = SECRET, now: float = CREATED) -> RejectionReason:
    with pytest.raises(SignatureRejected) as caught:
        verify(request, secret, now)
    return caught.value.reason
