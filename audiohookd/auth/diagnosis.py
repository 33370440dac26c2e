"""Why a request is refused, for whom it concerns: what was verified, and what the cause is. Pure, and bounded.

Where the signature is wrong, it is computed anew for each supposition of :mod:`audiohookd.auth.suspects`: what then
verifies is proven. Nothing that a diagnosis says lets anybody in: of keys and nonces there are fingerprints, of MACs
the first few characters.
"""

import base64
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

from audiohookd.auth import suspects
from audiohookd.auth.fields import Candidate, Signature, parse
from audiohookd.auth.findings import Cause, advice, facts, guesses, in_time, signed_by_others
from audiohookd.auth.keys import UNSIGNED, Key
from audiohookd.auth.redaction import hint, redacted
from audiohookd.auth.refusal import Refusal, SignatureRefused, demand
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.scope import check_scope
from audiohookd.auth.signature import mac, verify_any, weigh
from audiohookd.auth.suspects import Hints, Kind, Suspect

#: Suppositions that are tried at most; each costs one or two HMACs.
MAX_TRIES = 600
#: Bytes that are hashed for them at most: enough to try all on a request of the usual 500 bytes, whose key has 4
#: secrets. A head of 16 KiB had 80 MB hashed.
MAX_HASHED = 4 << 20
MAC_SIZE = 32
#: Labels of other signatures that are named at most.
MAX_LABELS = 8
#: Of headers that a signature covers, those whose values may be shown.
_SHOWN = frozenset(
    {
        "@request-target",
        "@authority",
        "host",
        "user-agent",
        "audiohook-organization-id",
        "audiohook-session-id",
        "audiohook-correlation-id",
        "audiohook-retry-attempt",
    }
)
_STRING_PARAMETER = re.compile(r'(;\s*(?!alg\s*=)[a-z*][a-z0-9_.*-]*\s*=\s*)"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What became of a request, and why.

    `verdict` is why it is refused, None if it is not. `label` is that of the signature that counts, empty where there
    is none, and `others` are the labels of the others. `base` is what was verified, line by line. `sent` and
    `expected` are the beginnings of the MACs, empty where there is none. `causes`: one at least, the likeliest first.
    `is_partial`: the request is so long that suppositions were left out.
    """

    verdict: Refusal | None
    label: str
    others: tuple[str, ...]
    base: tuple[str, ...]
    sent: str
    expected: str
    causes: tuple[Cause, ...]
    is_partial: bool = False

    def lines(self) -> list[str]:
        """The whole of it, for people."""
        lines = [f"verdict: {self.verdict or 'accepted'}"]
        if self.others:
            which = f"the signature {self.label} counts, not" if self.label else "does not count:"
            lines += [f"{which} {', '.join(self.others)}"]
        if self.base:
            lines += [f"what the signature {self.label} covers, as it came in (secrets replaced):"]
            lines += [f"    {line}" for line in self.base]
        if self.sent:
            lines += [f"signature sent:     {self.sent}", f"signature expected: {self.expected}"]
        lines += ["cause:" if len(self.causes) == 1 else "causes, the likeliest first:"]
        lines += [f"    {'certain' if cause.is_certain else 'a guess'}: {cause.text}" for cause in self.causes]
        return lines + ["note: the request is long: not all of the known causes were tried"] * self.is_partial


def diagnose(
    request: UpgradeRequest,
    secrets: Sequence[bytes] | None,
    now: float,
    hints: Hints | None = None,
    seen: Refusal | None = None,
    key: Key | None = None,
) -> Diagnosis:
    """Find out why a request is refused. Raises nothing for any request.

    `secrets` are those of its API key, any of which will do, UNSIGNED for none; None for a key that is not known.
    `key` is all that belongs to it, where there is more to know than secrets.
    `now` is UNIX time, when it came; `seen` is why it was refused then. Takes some milliseconds at most.
    """
    case = _Case(request, secrets, now, hints or Hints(), key)
    try:
        verdict = case.verdict()
        diagnosis = case.diagnosis(verdict, seen)
    except SignatureRefused as refused:  # the fields cannot be read
        diagnosis = Diagnosis(refused.reason, "", (), (), "", "", facts(request, refused.reason, None, now, key))
    return _without_secrets(diagnosis, request)


class _Case:
    """One request, and what is to be said of it."""

    def __init__(
        self,
        request: UpgradeRequest,
        secrets: Sequence[bytes] | None,
        now: float,
        hints: Hints,
        key: Key | None,
    ) -> None:
        self.request = request
        self.given = None if secrets is None else tuple(secrets)
        self.secrets = tuple(secret for secret in secrets or () if secret)
        self.now = now
        self.hints = hints
        self.key = key
        self.is_signed = "signature" in request.headers or "signature-input" in request.headers
        self.api_key = request.header("x-api-key")
        self._components: dict[str, str | None] = {}
        self._hashed = 0  # bytes

    def verdict(self) -> Refusal | None:
        """As the authenticator judges, but for replay."""
        try:
            self._judge()
        except SignatureRefused as refused:
            return refused.reason
        return None

    def _judge(self) -> None:
        demand(bool(self.api_key), Refusal.API_KEY_MISSING)
        if self.is_signed:
            verify_any(self.request, self.given, self.now)
        else:
            demand(self.given is not None, Refusal.API_KEY_UNKNOWN)
            demand(self.given is not None and UNSIGNED in self.given, Refusal.SIGNATURE_REQUIRED)
        if self.key is not None:
            check_scope(self.key, self.request, self.now)

    def diagnosis(self, verdict: Refusal | None, seen: Refusal | None) -> Diagnosis:
        is_over = seen in _CHANGES_WITH_THE_KEYS or (self.key is not None and seen in _OF_THE_SCOPE)
        if verdict is None and not is_over:
            verdict = seen
        signature = weigh(self.request, self.given, self.now).signature if self.is_signed else None
        label = "" if signature is None else signature.label
        candidates = self._candidates() if self.is_signed else ()
        others = tuple(one.label for one in candidates if one.label != label)
        causes = self._causes(verdict, signature)
        if candidates and verdict is not None and not any(one.names_key for one in candidates):
            causes = (*causes, *signed_by_others(causes))
        if signature is None:
            return Diagnosis(verdict, "", others, (), "", "", causes)
        expected, sent = self._expected(signature), _beginning(signature.value)
        is_partial = self._hashed >= MAX_HASHED and not causes[0].is_certain
        return Diagnosis(verdict, label, others, self._base(signature), sent, expected, causes, is_partial)

    def _causes(self, verdict: Refusal | None, signature: Signature | None) -> tuple[Cause, ...]:
        if signature is not None and verdict is Refusal.SIGNATURE_WRONG:
            found = self._found(signature)
            return (*found, *in_time(signature, self.now)) if found else guesses(self.request, self.hints)
        causes = facts(self.request, verdict, signature, self.now, self.key)
        if signature is not None and verdict is Refusal.API_KEY_UNKNOWN:
            return (*self._found(signature), *causes)
        return causes

    def _expected(self, signature: Signature) -> str:
        lines = self._lines(signature, {})
        if lines is None or not self.secrets:
            return "none can be computed"
        return " or ".join(_beginning(mac(secret, lines, signature.renderings[0])) for secret in self.secrets[:2])

    def _candidates(self) -> tuple[Candidate, ...]:
        header = self.request.header
        return parse(header("signature-input") or "", header("signature") or "", self.api_key)

    # ---- suppositions ----------------------------------------------------------------------------

    def _found(self, signature: Signature) -> tuple[Cause, ...]:
        """The first supposition with which the signature verifies."""
        for suspect in islice(self._suspects(signature), MAX_TRIES):
            if self._verifies(signature, suspect):
                return (Cause(suspect.kind, advice(suspect, self.request), True),)
            if self._hashed >= MAX_HASHED:
                break
        return ()

    def _suspects(self, signature: Signature) -> Iterator[Suspect]:
        keys = suspects.keys(self.request, self.hints)
        if not self.secrets:
            return keys
        hosts = suspects.hosts(self.request, self.hints)
        paths = suspects.paths(self.request, self.hints)
        own = (suspect for secret in self.secrets for suspect in suspects.secrets(secret))
        others = suspects.identifiers(self.request) + suspects.signer(self.request, signature.keyid)
        both = (Suspect(Kind.HOST, f"{h.text} and {p.text}", {**h.values, **p.values}) for h in hosts for p in paths)
        return chain(hosts, paths, own, others, keys, both)

    def _verifies(self, signature: Signature, suspect: Suspect) -> bool:
        lines = self._lines(signature, suspect.values)
        if lines is None:
            return False
        secrets = self.secrets if suspect.secret is None else (suspect.secret,)
        self._hashed += len(secrets) * sum(len(lines) + len(text) for text in signature.renderings)
        macs = [mac(secret, lines, text) for secret in secrets for text in signature.renderings]
        return any(hmac.compare_digest(one, signature.value) for one in macs)

    def _lines(self, signature: Signature, values: Mapping[str, str]) -> str | None:
        told = [(name, values.get(name, self._component(name))) for name in signature.components]
        text = "".join(f'"{name}": {value}\n' for name, value in told)
        return text if text.isascii() and all(value is not None for _, value in told) else None

    def _component(self, name: str) -> str | None:
        """None for what is not in the request. Read once: there are many suppositions."""
        if name not in self._components:
            try:
                self._components[name] = self.request.component(name)
            except SignatureRefused:
                self._components[name] = None
        return self._components[name]

    # ---- what is shown ---------------------------------------------------------------------------

    def _base(self, signature: Signature) -> tuple[str, ...]:
        parameters = _STRING_PARAMETER.sub(lambda found: f'{found[1]}"{hint(found[2])}"', signature.renderings[0])
        return (*map(self._line, signature.components), f'"@signature-params": {parameters}')

    def _line(self, name: str) -> str:
        value = self._component(name)
        if value is None:
            return f'"{name}": (not in the request)'
        return f'"{name}": {value if name in _SHOWN else hint(value)}'


#: Refusals that are none any more when the right key is there.
_CHANGES_WITH_THE_KEYS = frozenset(
    {
        Refusal.API_KEY_UNKNOWN,
        Refusal.SIGNATURE_REQUIRED,
        Refusal.SIGNATURE_UNEXPECTED,
        Refusal.SIGNATURE_WRONG,
    }
)
_OF_THE_SCOPE = frozenset({Refusal.KEY_EXPIRED, Refusal.ORGANIZATION_NOT_ALLOWED, Refusal.ROUTE_NOT_ALLOWED})


def _beginning(value: bytes) -> str:
    size = f"({len(value)} bytes)"
    return f"{base64.b64encode(value)[:6].decode()}... {size}" if len(value) == MAC_SIZE else size


def _without_secrets(diagnosis: Diagnosis, request: UpgradeRequest) -> Diagnosis:
    """Once more over everything: a key may stand in a query, or where nobody thought of."""
    return replace(
        diagnosis,
        label=redacted(diagnosis.label, request),
        others=tuple(redacted(label, request) for label in diagnosis.others[:MAX_LABELS]),
        base=tuple(redacted(line, request) for line in diagnosis.base),
        causes=tuple(replace(cause, text=redacted(cause.text, request)) for cause in diagnosis.causes),
    )
