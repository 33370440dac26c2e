"""What became of a request: its signature, or the reason of its refusal."""

import pytest
from foreign_signer import API_KEY, CREATED, NONCE, SECRET

from audiohookd.auth.fields import Signature
from audiohookd.auth.refusal import Refusal, SignatureRefused
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature import verify

#: A signature input that is spelled as nobody would, and is well-formed.
ODD = (
    '(  "@request-target" "@authority"  "audiohook-organization-id" "audiohook-session-id" '
    f'"audiohook-correlation-id" "x-api-key" ); keyid="{API_KEY}"; nonce="{NONCE}";'
    f"created=0{CREATED};z;y=?1"
)


def verified(request: UpgradeRequest, secret: bytes | None = SECRET, now: float = CREATED) -> Signature:
    return verify(request, secret, now)


def refusal(request: UpgradeRequest, secret: bytes | None = SECRET, now: float = CREATED) -> Refusal:
    with pytest.raises(SignatureRefused) as caught:
        verify(request, secret, now)
    return caught.value.reason
