"""Describes the causes of a rejection, with the remedy. Pure."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from audiohookd.auth.keys.model import Key, fingerprint
from audiohookd.auth.keys.scope import scope_violation
from audiohookd.auth.rejection import RejectionReason
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.fields import Signature
from audiohookd.auth.signature.message_signature import CLOCK_SKEW, MAX_AGE, MIN_NONCE_LENGTH, REQUIRED_COMPONENTS
from audiohookd.diagnostics.hypotheses import Hints, Hypothesis, Kind


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a request was rejected, with the remedy. Without ``is_certain`` it is a guess."""

    kind: Kind
    text: str
    is_certain: bool


_Reason = RejectionReason

_PLAIN: Final[Mapping[RejectionReason, str]] = {
    _Reason.API_KEY_MISSING: "there is no X-API-KEY: the request is not from Genesys Cloud, or a proxy removed it",
    _Reason.SIGNATURE_REQUIRED: "the request is not signed, and its key has a secret: give the integration in Genesys"
    " Cloud its client secret, or, if a proxy removes headers, pass on Signature and Signature-Input",
    _Reason.SIGNATURE_UNEXPECTED: "the request is signed, and its key has no secret here: write the integration's"
    " client secret into the key file in place of null",
    _Reason.SIGNATURE_INCOMPLETE: "the request has only one of Signature and Signature-Input, or they have no label"
    " in common: check whether a proxy removes one",
    _Reason.MALFORMED: "Signature or Signature-Input is not a structured field (RFC 8941), or a parameter has a wrong"
    " type: check that created is a whole number, keyid and nonce are in quotes, and the signature is between colons",
    _Reason.DUPLICATE: "a label, parameter or component occurs twice in Signature-Input or Signature",
    _Reason.PARAMETER_MISSING: "Signature-Input lacks keyid, nonce or created",
    _Reason.COMPONENT_UNSUPPORTED: "the signature covers a component that AudioHook does not support",
    _Reason.ALGORITHM_UNSUPPORTED: "alg is not hmac-sha256",
    _Reason.REPLAYED: "a request with this nonce was accepted before: a proxy sends requests twice, or this is a"
    " replay attack; Genesys Cloud signs each attempt with a new nonce. Or a clock was set back, to a time for which"
    " the nonces have expired: compare timedatectl",
    _Reason.REPLAY_STORE_DOWN: "the signature is valid, but a replay could not be ruled out, because the replay store"
    " was down",
}
#: Typographic quotes, which word processors, forums and chats put in place of a quotation mark.
_QUOTES = "\u201c\u201d\u201e\u201f\u2018\u2019\u00ab\u00bb\u2033\uff02"
_REPLAY = frozenset({RejectionReason.REPLAYED, RejectionReason.REPLAY_STORE_DOWN})


def certain_causes(
    request: UpgradeRequest,
    verdict: RejectionReason | None,
    signature: Signature | None,
    now: float,
    key: Key | None = None,
) -> tuple[Cause, ...]:
    """Returns the causes that follow directly from the verdict, at the UNIX time ``now``. At least one."""
    if verdict is None:
        condition = "" if signature is None else ", unless its nonce was used before"
        return (Cause(Kind.NOTHING, f"the request is valid: it would be accepted{condition}", True),)
    if verdict in _PLAIN:
        kind = Kind.REPLAY if verdict in _REPLAY else Kind.SIGNER
        text = _not_ascii(request) if verdict is RejectionReason.MALFORMED else ""
        return (Cause(kind, text or _PLAIN[verdict], True),)
    if verdict is RejectionReason.SIGNATURE_WRONG:
        return (Cause(Kind.SECRET, _OTHER_SIGNER, False),)
    if verdict is RejectionReason.API_KEY_UNKNOWN:
        text = f"the key of the request, {_own(request)}, is not among the keys: add it, or correct it"
        return (Cause(Kind.KEY, text, True),)
    if signature is not None and verdict in (
        RejectionReason.TOO_OLD,
        RejectionReason.NOT_YET_VALID,
        RejectionReason.EXPIRED,
    ):
        return clock_causes(signature, now) or (_claim(request, verdict, signature, key),)
    return (_claim(request, verdict, signature, key),)


def _not_ascii(request: UpgradeRequest) -> str:
    """Names the characters that a structured field cannot contain. Empty if all of them are ASCII."""
    for name in ("Signature-Input", "Signature"):
        found = sorted({char for char in request.header(name.lower()) or "" if not char.isascii()})
        quotes = " ".join(char for char in found if char in _QUOTES)
        if quotes:
            return f'{name} has typographic quotes ({quotes}) in place of ": replace each of them by "'
        if found:
            named = ", ".join(f"U+{ord(char):04X} {unicodedata.name(char, '')}".strip() for char in found[:4])
            return f"{name} has characters that are not ASCII: {named}; Genesys Cloud sends none"
    return ""


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
_FURTHER = "key and signature are valid; docs/rejections.rst explains {}"


def _claim(request: UpgradeRequest, verdict: RejectionReason, signature: Signature | None, key: Key | None) -> Cause:
    if text := scope_violation(verdict, request, key):
        return Cause(Kind.SCOPE, text, True)
    if signature is None:
        return Cause(Kind.KEY, _FURTHER.format(verdict.value), True)
    names = ", ".join(name for name in REQUIRED_COMPONENTS if name not in signature.components)
    absent = ", ".join(name for name in signature.components if not _has(request, name))
    other = fingerprint(signature.keyid)
    texts = {
        RejectionReason.KEYID_MISMATCH: (Kind.KEY, f"keyid names the key {other}, X-API-KEY is {_own(request)}"),
        RejectionReason.NONCE_TOO_SHORT: (
            Kind.SIGNER,
            f"the nonce has {len(signature.nonce)} characters, at least {MIN_NONCE_LENGTH} are required",
        ),
        RejectionReason.COMPONENT_NOT_COVERED: (Kind.SIGNER, f"the signature does not cover {names}"),
        RejectionReason.COMPONENT_ABSENT: (
            Kind.SIGNER,
            f"the signature covers {absent}, which the request does not have: a proxy removed it",
        ),
    }
    kind, text = texts.get(verdict, (Kind.KEY, _FURTHER.format(verdict.value)))
    return Cause(kind, text, True)


def _own(request: UpgradeRequest) -> str:
    return fingerprint(request.header("x-api-key") or "")


def _has(request: UpgradeRequest, name: str) -> bool:
    value = request.header("host" if name == "@authority" else name)
    return name == "@request-target" or bool(value and value.isascii() and value.isprintable())


def clock_causes(signature: Signature, now: float) -> tuple[Cause, ...]:
    """Returns the causes in the times of a signature, at the UNIX time ``now``: none, one or two."""
    age = now - signature.created
    found = []
    if age > MAX_AGE + CLOCK_SKEW:
        found.append(
            f"it was signed {_span(age)} before it arrived, {MAX_AGE} s are allowed: one of the two clocks is off by"
            " that much (timedatectl), or the request was delayed or is an old one"
        )
    if age < -CLOCK_SKEW:
        found.append(
            f"it was signed {_span(-age)} in the future, {CLOCK_SKEW} s are allowed: one of the two clocks is off by"
            " that much (timedatectl)"
        )
    if signature.expires is not None and signature.expires < now - CLOCK_SKEW:
        found.append(f"it expired {_span(now - signature.expires)} before it arrived")
    return tuple(Cause(Kind.CLOCK, text, True) for text in found)


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    about = f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
    return f"{seconds:.0f} s (about {about})"


_REMEDY: Final[Mapping[Kind, str]] = {
    Kind.HOST: "let the proxy pass on Host unchanged (nginx: proxy_set_header Host $http_host), or set [listen]"
    " authority to the name that Genesys Cloud calls",
    Kind.PATH: "let the proxy pass on path and query unchanged, or enter the other address in Genesys Cloud",
    Kind.IDENTIFIERS: "correct the signer",
    Kind.SECRET: "enter the same secret, in base64, in Genesys Cloud and in the key file",
    Kind.KEY: "give the integration a key and its own secret",
    Kind.SIGNER: "correct the signer",
}


def remedy(hypothesis: Hypothesis, request: UpgradeRequest) -> str:
    """Describes a confirmed hypothesis, with the remedy."""
    changed = {
        Kind.HOST: f"Host was rewritten on the way to {request.header('host')!r}",
        Kind.PATH: f"the path was changed on the way to {request.target!r}",
        Kind.IDENTIFIERS: "the identifiers differ from the signed ones",
        Kind.SECRET: "it was not signed with the secret",
        Kind.KEY: "key and secret are not a pair",
        Kind.SIGNER: "the signer does not sign the values that AudioHook requires",
    }[hypothesis.kind]
    return f"{changed}: with {hypothesis.text} the signature verifies. To do: {_REMEDY[hypothesis.kind]}"


def likely_causes(request: UpgradeRequest, hints: Hints) -> tuple[Cause, ...]:
    """Returns the possible causes when no hypothesis was confirmed, the most likely first.

    A wrong secret cannot be distinguished from a rewritten name that no header has. A proxy comes first only if the
    request shows one. Otherwise it would hide a wrong secret, as it did for a test call from the same machine.
    """
    secret = Cause(Kind.SECRET, _OTHER_SIGNER, False)
    if hints.hosts or hints.paths:
        return (secret, Cause(Kind.HOST, _OTHER_THAN_HINTS, False))
    proxy = (*_internal_host(request), Cause(Kind.HOST, _OTHER_REQUEST, False))
    return (*proxy, secret) if _shows_proxy(request) else (secret, *proxy)


#: Headers that only a proxy adds.
_PROXY_HEADERS = ("forwarded", "via", "x-real-ip", "x-original-host", "x-original-uri", "x-original-url")


def _shows_proxy(request: UpgradeRequest) -> bool:
    return any(name in _PROXY_HEADERS or name.startswith(("x-forwarded-", "x-envoy-")) for name in request.headers)


def signed_by_others(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """Returns a further cause if no signature has the API key as its keyid, unless ``causes`` explain a signature."""
    if any(cause.is_certain and cause.kind in (Kind.HOST, Kind.PATH, Kind.SECRET, Kind.KEY) for cause in causes):
        return ()
    text = (
        "no signature has X-API-KEY as its keyid: if an intermediary signs requests, the client's own signature is"
        " missing; give the integration in Genesys Cloud its client secret, and let the proxy pass on Signature and"
        " Signature-Input"
    )
    return (Cause(Kind.SIGNER, text, False),)


def _internal_host(request: UpgradeRequest) -> tuple[Cause, ...]:
    host = request.header("host") or ""
    name = re.sub(r":\d*\Z", "", host)
    if request.authority is None and re.fullmatch(r"\[?[\d.:a-f]+\]?|localhost|[^.]*", name, re.IGNORECASE):
        text = (
            f"Host, {host!r}, is not a name that Genesys Cloud can call: if the call came from there, a proxy rewrote"
            f" it: {_REMEDY[Kind.HOST]}"
        )
        return (Cause(Kind.HOST, text, False),)
    return ()
