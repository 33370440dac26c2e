"""The texts for the causes of a rejection, with their remedies. Pure."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from audiohookd.auth.keys.model import Key, fingerprint
from audiohookd.auth.keys.scope import scope_violation
from audiohookd.auth.rejection import RejectionReason, SignatureRejected
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.fields import Signature
from audiohookd.auth.signature.message_signature import CLOCK_SKEW, MAX_AGE, MIN_NONCE_LENGTH, REQUIRED_COMPONENTS
from audiohookd.diagnostics.hypotheses import Hints


class Cause(NamedTuple):
    """Why a request was rejected, with the remedy. Without ``is_certain`` it is a guess."""

    text: str
    is_certain: bool = True


_Reason = RejectionReason
_CLOCKS = "one of the two clocks is off by that much (timedatectl)"

_TEXTS: Final[Mapping[RejectionReason, str]] = {
    _Reason.API_KEY_MISSING: "there is no X-API-KEY: the request is not from Genesys Cloud, or a proxy removed it",
    _Reason.API_KEY_UNKNOWN: "the key of the request, {api_key}, is not among the keys: add it, or correct it",
    _Reason.SIGNATURE_REQUIRED: "the request is not signed, and its key has a secret: give the integration in Genesys"
    " Cloud its client secret, or, if a proxy removes headers, pass on Signature and Signature-Input",
    _Reason.SIGNATURE_UNEXPECTED: "the request is signed, and its key has no secret here: write the integration's"
    " client secret into the key file in place of null",
    _Reason.SIGNATURE_INCOMPLETE: "the request has only one of Signature and Signature-Input, or they have no label"
    " in common: check whether a proxy removes one",
    _Reason.MALFORMED: "Signature or Signature-Input is not a structured field (RFC 8941), or a parameter has a wrong"
    " type: check that created is a whole number, keyid and nonce are in quotes (not in the typographic quotes of a"
    " word processor), and the signature is between colons",
    _Reason.DUPLICATE: "a label, parameter or component occurs twice in Signature-Input or Signature",
    _Reason.PARAMETER_MISSING: "Signature-Input lacks keyid, nonce or created",
    _Reason.COMPONENT_UNSUPPORTED: "the signature covers a component that AudioHook does not support",
    _Reason.COMPONENT_NOT_COVERED: "the signature does not cover {not_covered}",
    _Reason.COMPONENT_ABSENT: "the signature covers {absent}, which the request does not have: a proxy removed it",
    _Reason.ALGORITHM_UNSUPPORTED: "alg is not hmac-sha256",
    _Reason.KEYID_MISMATCH: "keyid names the key {keyid}, X-API-KEY is {api_key}",
    _Reason.NONCE_TOO_SHORT: f"the nonce has {{length}} characters, at least {MIN_NONCE_LENGTH} are required",
    _Reason.TOO_OLD: f"it was signed {{age:.0f}} s before it arrived, {MAX_AGE} s are allowed: {_CLOCKS}, or the"
    " request was delayed or is an old one",
    _Reason.NOT_YET_VALID: f"it was signed {{ahead:.0f}} s in the future, {CLOCK_SKEW} s are allowed: {_CLOCKS}",
    _Reason.EXPIRED: "it expired {late:.0f} s before it arrived",
    _Reason.REPLAYED: "a request with this nonce was accepted before: a proxy sends requests twice, or this is a"
    " replay attack; Genesys Cloud signs each attempt with a new nonce. Or a clock was set back, to a time for which"
    " the nonces have expired: compare timedatectl",
    _Reason.REPLAY_STORE_DOWN: "the signature is valid, but a replay could not be ruled out, because the replay store"
    " was down",
}
_OTHER_SIGNER = (
    "the secret is not the signer's: copy it again from the integration, and check that the daemon has reloaded it"
)
_OTHER_REQUEST = (
    "Genesys Cloud called another name, path or query, and a proxy changed it: compare @authority and @request-target"
    " with the connection URI of the integration. To verify that, pass its parts to explain-signature:"
    " --host NAME_IN_THE_CONNECTION_URI --path PATH_AND_QUERY_IN_THE_CONNECTION_URI"
)
_OTHER_THAN_HINTS = (
    "Genesys Cloud called a name, path or query that differs from --host and --path: compare them with the connection"
    " URI of the integration, query included"
)
#: Headers that only a proxy adds.
_PROXY_HEADER = re.compile(r"forwarded|via|x-real-ip|x-original-(?:host|uri|url)|(?:x-forwarded|x-envoy)-.*")


def certain_cause(
    request: UpgradeRequest, verdict: RejectionReason | None, signature: Signature | None, now: float, key: Key | None
) -> Cause:
    """Returns the cause that follows directly from the verdict, at the UNIX time ``now``."""
    if verdict is None:
        condition = "" if signature is None else ", unless its nonce was used before"
        return Cause(f"the request is valid: it would be accepted{condition}")
    if violation := scope_violation(verdict, request, key):
        return Cause(violation)
    values: dict[str, str | float] = {"api_key": fingerprint(request.header("x-api-key") or "")}
    if signature is not None:
        covered = signature.components
        values |= {
            "keyid": fingerprint(signature.keyid),
            "length": len(signature.nonce),
            "not_covered": ", ".join(name for name in REQUIRED_COMPONENTS if name not in covered),
            "absent": ", ".join(name for name in covered if component(request, name) is None),
            "age": now - signature.created,
            "ahead": signature.created - now,
            "late": now - (signature.expires or 0),
        }
    return Cause(_TEXTS[verdict].format_map(values))


def component(request: UpgradeRequest, name: str) -> str | None:
    """Returns the value of a component, None if it is not in the request."""
    try:
        return request.component(name)
    except SignatureRejected:
        return None


def likely_causes(request: UpgradeRequest, hints: Hints) -> tuple[Cause, ...]:
    """Returns the possible causes when no hypothesis was confirmed, the most likely first.

    A wrong secret cannot be distinguished from a rewritten name that no header has. A proxy comes first only if the
    request shows one. Otherwise it would hide a wrong secret, as it did for a test call from the same machine.
    """
    texts = [_OTHER_SIGNER, _OTHER_THAN_HINTS if hints.hosts or hints.paths else _OTHER_REQUEST]
    if texts[1] is _OTHER_REQUEST and any(map(_PROXY_HEADER.fullmatch, request.headers)):
        texts.reverse()
    return tuple(Cause(text, is_certain=False) for text in texts)
