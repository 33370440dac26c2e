"""Causes of refusals in words: what is the matter, and what to do. Pure."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from audiohookd.auth.fields import Signature
from audiohookd.auth.keys import Key, fingerprint
from audiohookd.auth.refusal import Refusal
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.scope import beyond_scope
from audiohookd.auth.signature import CLOCK_SKEW, MAX_AGE, MIN_NONCE_LENGTH, REQUIRED_COMPONENTS
from audiohookd.auth.suspects import Hints, Kind, Suspect


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a request was refused, and what to do. What is not certain is a guess."""

    kind: Kind
    text: str
    is_certain: bool


_PLAIN: Final[Mapping[Refusal, str]] = {
    Refusal.API_KEY_MISSING: "there is no X-API-KEY: this is no request of Genesys Cloud, or a proxy took it out",
    Refusal.SIGNATURE_REQUIRED: "the request is not signed, and its key has a secret: give the integration in Genesys"
    " Cloud its client secret, or, if a proxy takes headers out, let Signature and Signature-Input through",
    Refusal.SIGNATURE_UNEXPECTED: "the request is signed, and its key has no secret here: write the integration's"
    " client secret into the key file in place of null",
    Refusal.SIGNATURE_INCOMPLETE: "only one of Signature and Signature-Input is there, or they have no label in"
    " common: does a proxy take one out?",
    Refusal.MALFORMED: "Signature or Signature-Input is no structured field (RFC 8941), or a parameter has a wrong"
    " type: is created a whole number, keyid and nonce in quotes, the signature between colons?",
    Refusal.DUPLICATE: "a label, parameter or component stands twice in Signature-Input or Signature",
    Refusal.PARAMETER_MISSING: "Signature-Input lacks keyid, nonce or created",
    Refusal.COMPONENT_UNSUPPORTED: "the signature covers a component that AudioHook does not have",
    Refusal.ALGORITHM_UNSUPPORTED: "alg is not hmac-sha256",
    Refusal.REPLAYED: "a request with this nonce was let in before: a proxy sends requests twice, or somebody repeats"
    " what he overheard; Genesys Cloud signs each attempt anew. Or a clock was set back, to a time whose nonces have"
    " expired: compare timedatectl",
    Refusal.REPLAY_STORE_DOWN: "the signature is good, but whether it came before could not be looked up: the replay"
    " store was down",
}
#: What word processors, forums and chats make of a quotation mark.
_QUOTES = "\u201c\u201d\u201e\u201f\u2018\u2019\u00ab\u00bb\u2033\uff02"
_REPLAY = frozenset({Refusal.REPLAYED, Refusal.REPLAY_STORE_DOWN})


def facts(
    request: UpgradeRequest,
    verdict: Refusal | None,
    signature: Signature | None,
    now: float,
    key: Key | None = None,
) -> tuple[Cause, ...]:
    """What a verdict by itself says of a request, at UNIX time `now`. One at least."""
    if verdict is None:
        once = "" if signature is None else ", unless its nonce came before"
        return (Cause(Kind.NOTHING, f"nothing is wrong with it: it would be let in{once}", True),)
    if verdict in _PLAIN:
        kind = Kind.REPLAY if verdict in _REPLAY else Kind.SIGNER
        text = _not_ascii(request) if verdict is Refusal.MALFORMED else ""
        return (Cause(kind, text or _PLAIN[verdict], True),)
    if verdict is Refusal.SIGNATURE_WRONG:
        return (Cause(Kind.SECRET, _UNPROVEN, False),)
    if verdict is Refusal.API_KEY_UNKNOWN:
        text = f"the key of the request, {_own(request)}, is not among the keys: add it, or correct it"
        return (Cause(Kind.KEY, text, True),)
    if signature is not None and verdict in (Refusal.TOO_OLD, Refusal.NOT_YET_VALID, Refusal.EXPIRED):
        return in_time(signature, now) or (_claim(request, verdict, signature, key),)
    return (_claim(request, verdict, signature, key),)


def _not_ascii(request: UpgradeRequest) -> str:
    """Which characters a structured field cannot have; empty where all of them are ASCII."""
    for name in ("Signature-Input", "Signature"):
        found = sorted({char for char in request.header(name.lower()) or "" if not char.isascii()})
        quotes = " ".join(char for char in found if char in _QUOTES)
        if quotes:
            return f'{name} has typographic quotes ({quotes}) in place of ": write " wherever they stand'
        if found:
            named = ", ".join(f"U+{ord(char):04X} {unicodedata.name(char, '')}".strip() for char in found[:4])
            return f"{name} has characters that are not ASCII: {named}; Genesys Cloud sends none"
    return ""


_UNPROVEN = (
    "the secret is another one than the signer's: copy it anew from the integration, and see that the daemon has read"
    " it"
)
_OTHER_REQUEST = (
    "Genesys Cloud called another name, path or query, and a proxy changed it: compare @authority and @request-target"
    " with the connection URI of the integration. To have it proven, give explain-signature what stands there:"
    " --host NAME_IN_THE_CONNECTION_URI --path PATH_AND_QUERY_IN_THE_CONNECTION_URI"
)
_NOT_THAT_EITHER = (
    "Genesys Cloud called yet another name, path or query than what you gave: see that --host and --path are what"
    " stands in the connection URI of the integration, query included"
)
_FURTHER = "key and signature are good; what {} means is in docs/refusals.rst"


def _claim(request: UpgradeRequest, verdict: Refusal, signature: Signature | None, key: Key | None) -> Cause:
    if text := beyond_scope(verdict, request, key):
        return Cause(Kind.SCOPE, text, True)
    if signature is None:
        return Cause(Kind.KEY, _FURTHER.format(verdict.value), True)
    names = ", ".join(name for name in REQUIRED_COMPONENTS if name not in signature.components)
    absent = ", ".join(name for name in signature.components if not _has(request, name))
    other = fingerprint(signature.keyid)
    texts = {
        Refusal.KEYID_MISMATCH: (Kind.KEY, f"keyid names the key {other}, X-API-KEY is {_own(request)}"),
        Refusal.NONCE_TOO_SHORT: (
            Kind.SIGNER,
            f"the nonce has {len(signature.nonce)} characters, {MIN_NONCE_LENGTH} at least are needed",
        ),
        Refusal.COMPONENT_NOT_COVERED: (Kind.SIGNER, f"the signature does not cover {names}"),
        Refusal.COMPONENT_ABSENT: (
            Kind.SIGNER,
            f"the signature covers {absent}, which the request does not have: a proxy took it out",
        ),
    }
    kind, text = texts.get(verdict, (Kind.KEY, _FURTHER.format(verdict.value)))
    return Cause(kind, text, True)


def _own(request: UpgradeRequest) -> str:
    return fingerprint(request.header("x-api-key") or "")


def _has(request: UpgradeRequest, name: str) -> bool:
    value = request.header("host" if name == "@authority" else name)
    return name == "@request-target" or bool(value and value.isascii() and value.isprintable())


def in_time(signature: Signature, now: float) -> tuple[Cause, ...]:
    """What is wrong with the time of a signature at UNIX time `now`; nothing, one thing or two."""
    age = now - signature.created
    found = []
    if age > MAX_AGE + CLOCK_SKEW:
        found.append(
            f"it was signed {_span(age)} before it came, {MAX_AGE} s are allowed: one of the two clocks is off by"
            " that much (timedatectl), or it was held up, or it is an old one"
        )
    if age < -CLOCK_SKEW:
        found.append(
            f"it was signed {_span(-age)} in the future, {CLOCK_SKEW} s are allowed: one of the two clocks is off by"
            " that much (timedatectl)"
        )
    if signature.expires is not None and signature.expires < now - CLOCK_SKEW:
        found.append(f"it expired {_span(now - signature.expires)} before it came")
    return tuple(Cause(Kind.CLOCK, text, True) for text in found)


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    about = f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
    return f"{seconds:.0f} s (about {about})"


_REMEDY: Final[Mapping[Kind, str]] = {
    Kind.HOST: "let the proxy pass on Host as it came (nginx: proxy_set_header Host $http_host), or write the name"
    " that Genesys Cloud calls into [listen] authority",
    Kind.PATH: "let the proxy pass on path and query as they came, or enter the other address in Genesys Cloud",
    Kind.IDENTIFIERS: "correct the signer",
    Kind.SECRET: "enter the same secret, in base64, in Genesys Cloud and in the key file",
    Kind.KEY: "give the integration key and secret of one pair",
    Kind.SIGNER: "correct the signer",
}


def advice(suspect: Suspect, request: UpgradeRequest) -> str:
    """A supposition that was proven, and what to do."""
    changed = {
        Kind.HOST: f"Host was rewritten on the way to {request.header('host')!r}",
        Kind.PATH: f"the path was changed on the way to {request.target!r}",
        Kind.IDENTIFIERS: "the identifiers are not what was signed",
        Kind.SECRET: "it was signed with something else than the secret",
        Kind.KEY: "key and secret are not of one pair",
        Kind.SIGNER: "the signer does not sign what AudioHook asks for",
    }[suspect.kind]
    return f"{changed}: with {suspect.text} the signature verifies. To do: {_REMEDY[suspect.kind]}"


def guesses(request: UpgradeRequest, hints: Hints) -> tuple[Cause, ...]:
    """What is left when no supposition could be proven, the likeliest first.

    A wrong secret cannot be distinguished from a rewritten name that no header has. A proxy comes first only where
    the request shows one: of a test call from the same machine it was named before the secret, which was wrong.
    """
    secret = Cause(Kind.SECRET, _UNPROVEN, False)
    if hints.hosts or hints.paths:
        return (secret, Cause(Kind.HOST, _NOT_THAT_EITHER, False))
    proxy = (*_host_of_nobody(request), Cause(Kind.HOST, _OTHER_REQUEST, False))
    return (*proxy, secret) if _shows_proxy(request) else (secret, *proxy)


#: Headers that only a proxy adds.
_OF_PROXIES = ("forwarded", "via", "x-real-ip", "x-original-host", "x-original-uri", "x-original-url")


def _shows_proxy(request: UpgradeRequest) -> bool:
    return any(name in _OF_PROXIES or name.startswith(("x-forwarded-", "x-envoy-")) for name in request.headers)


def signed_by_others(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """Where no signature has the API key as its keyid: a further cause, unless `causes` have been proven of one."""
    if any(cause.is_certain and cause.kind in (Kind.HOST, Kind.PATH, Kind.SECRET, Kind.KEY) for cause in causes):
        return ()
    text = (
        "no signature has X-API-KEY as its keyid: if an intermediary signs requests, the client's own signature is"
        " missing; give the integration in Genesys Cloud its client secret, and let the proxy pass on Signature and"
        " Signature-Input"
    )
    return (Cause(Kind.SIGNER, text, False),)


def _host_of_nobody(request: UpgradeRequest) -> tuple[Cause, ...]:
    host = request.header("host") or ""
    name = re.sub(r":\d*\Z", "", host)
    if request.authority is None and re.fullmatch(r"\[?[\d.:a-f]+\]?|localhost|[^.]*", name, re.IGNORECASE):
        text = (
            f"Host, {host!r}, is no name that Genesys Cloud can call: if the call came from there, a proxy rewrote"
            f" it: {_REMEDY[Kind.HOST]}"
        )
        return (Cause(Kind.HOST, text, False),)
    return ()
