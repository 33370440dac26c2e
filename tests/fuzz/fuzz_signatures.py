"""Fuzzes the two header fields of a signature: the parser accepts or rejects them, and only the real one verifies.

The bytes are the two fields with a line break between them, sent with a request that was signed once. Only that
signature may verify, in any valid spelling.
"""

from collections.abc import Iterator
from contextlib import suppress

import http_sf

from audiohookd.auth.rejection import SignatureRejected
from audiohookd.auth.signature.fields import MAX_VERIFIED, Signature, parse
from audiohookd.auth.signature.message_signature import verify
from tests.auth.foreign_signer import API_KEY, CREATED, EXPIRES, NONCE, SECRET, SIX, replaced, signed

_TYPES = {"keyid": str, "nonce": str, "created": int, "value": bytes}


def check(data: bytes) -> None:
    """Raises an AssertionError, or any exception that the parser must not raise."""
    signature_input, _, signature = data.decode("latin-1").partition("\n")
    found = []
    with suppress(SignatureRejected):
        candidates = parse(signature_input, signature, API_KEY)
        found = [candidate.signature for candidate in candidates if candidate.signature is not None]
        assert candidates
        assert len(found) <= MAX_VERIFIED
        assert all((one.signature is None) is (one.fault is not None) for one in candidates)
        assert sorted((one.names_key for one in candidates), reverse=True) == [one.names_key for one in candidates]
    for signature_found in found:
        _check_meaning(signature_found)
    _check_verdict(signature_input, signature, found)


def seeds() -> Iterator[bytes]:
    """Fields of each kind."""
    headers = signed().headers
    yield f"{headers['signature-input']}\n{headers['signature']}".encode()
    odd = 'a=( "x"  "y" );created=1; nonce="n"; keyid="k"'
    for label, text in (("sig1", headers["signature-input"]), ("a", odd)):
        yield f'other=%"s\\", {text} ,b="x,{label}=("\n{headers["signature"]},{label}=:AA==:;p=?1'.encode()
    edge = 'edge=("@authority");created=1;keyid="e";alg="ed25519"'
    yield f"{edge}, {headers['signature-input']}\nedge=:AA==:, {headers['signature']}".encode()
    second = headers["signature-input"].replace("sig1=", "sig2=")
    yield f"{second},{headers['signature-input']}\nsig2=:AA==:,{headers['signature']}".encode()
    yield b"sig1;created=1;a=(\nsig1=:AA==:"
    yield b'sig1=("a";sf);keyid="k";nonce="n";created=1.5;expires=-1;alg=token;z=@12\nsig1=1'


def _check_meaning(found: Signature) -> None:
    for name, kind in _TYPES.items():
        assert type(getattr(found, name)) is kind, name
    assert all(type(name) is str for name in found.components)
    assert len(set(found.components)) == len(found.components)
    assert 1 <= len(found.renderings) <= 2
    meanings = [http_sf.parse(b"x=" + text.encode("ascii"), tltype="dictionary")["x"] for text in found.renderings]
    for components, parameters in meanings:
        assert tuple(name for name, _ in components) == found.components
        assert (parameters["keyid"], parameters["nonce"]) == (found.keyid, found.nonce)
        assert (parameters["created"], parameters.get("expires")) == (found.created, found.expires)
    assert found.keyid not in repr(found) or len(found.keyid) < 8


def _check_verdict(signature_input: str, signature: str, found: list[Signature]) -> None:
    request = replaced(signed(), signature_input=signature_input, signature=signature)
    try:
        accepted = verify(request, SECRET, CREATED)
    except SignatureRejected:
        return
    assert accepted in found
    assert accepted.components == SIX
    assert (accepted.keyid, accepted.nonce) == (API_KEY, NONCE)
    assert (accepted.created, accepted.expires, accepted.alg) == (CREATED, EXPIRES, "hmac-sha256")
