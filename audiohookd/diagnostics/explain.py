"""Explains why a request was rejected: the text that was verified, and the cause. Pure, and bounded.

A wrong signature is computed again for each hypothesis of :mod:`audiohookd.diagnostics.hypotheses`. A hypothesis that
verifies is confirmed. A diagnosis contains nothing that grants access: it shows fingerprints of keys and nonces, and
the first few characters of MACs.
"""

import base64
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

from audiohookd.auth.keys.model import UNSIGNED, Key
from audiohookd.auth.keys.scope import check_scope
from audiohookd.auth.rejection import RejectionReason, SignatureRejected, require
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.fields import Candidate, Signature, parse
from audiohookd.auth.signature.message_signature import mac, verify_any, verify_candidates
from audiohookd.diagnostics import hypotheses
from audiohookd.diagnostics.causes import Cause, certain_causes, clock_causes, likely_causes, remedy, signed_by_others
from audiohookd.diagnostics.hypotheses import Hints, Hypothesis, Kind
from audiohookd.diagnostics.redaction import hint, redacted

#: Most hypotheses that are tried. Each costs one or two HMACs.
MAX_TRIES = 600
#: Most bytes that are hashed for them: enough for all hypotheses on a request of the usual 500 bytes, with 4 secrets
#: for its key. Without a bound, a head of 16 KiB took 80 MB of hashing.
MAX_HASHED = 4 << 20
MAC_SIZE = 32
#: Most labels of other signatures that are named.
MAX_LABELS = 8
#: Components that may be shown with their values.
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
    """The result of a diagnosis.

    :param verdict: why the request is rejected; None if it is accepted.
    :param label: the label of the decisive signature, empty without one. ``others`` are all other labels.
    :param base: the lines of the signature base.
    :param sent: the beginning of the MAC in the request, empty without one. ``expected``: that of the computed MACs.
    :param causes: at least one, the most likely first.
    :param is_partial: not all hypotheses were tried, because the request is too long.
    """

    verdict: RejectionReason | None
    label: str
    others: tuple[str, ...]
    base: tuple[str, ...]
    sent: str
    expected: str
    causes: tuple[Cause, ...]
    is_partial: bool = False

    def lines(self) -> list[str]:
        """Returns the diagnosis as text."""
        lines = [f"verdict: {self.verdict or 'accepted'}"]
        if self.others:
            which = f"the signature {self.label} counts, not" if self.label else "does not count:"
            lines += [f"{which} {', '.join(self.others)}"]
        if self.base:
            lines += [f"the components that the signature {self.label} covers, as received (secrets replaced):"]
            lines += [f"    {line}" for line in self.base]
        if self.sent:
            lines += [f"signature sent:     {self.sent}", f"signature expected: {self.expected}"]
        lines += ["cause:" if len(self.causes) == 1 else "causes, the most likely first:"]
        lines += [f"    {'certain' if cause.is_certain else 'a guess'}: {cause.text}" for cause in self.causes]
        return lines + ["note: the request is long: not all of the known causes were tried"] * self.is_partial


def diagnose(
    request: UpgradeRequest,
    secrets: Sequence[bytes] | None,
    now: float,
    hints: Hints | None = None,
    seen: RejectionReason | None = None,
    key: Key | None = None,
) -> Diagnosis:
    """Explains why a request is rejected. No request raises an error.

    Takes some milliseconds at most.

    :param secrets: the secrets of the request's API key, UNSIGNED if it has none; None for an unknown key.
    :param now: the UNIX time at which the request arrived.
    :param seen: why the daemon rejected the request then, if it did.
    :param key: the API key with its scope, if known.
    """
    case = _Case(request, secrets, now, hints or Hints(), key)
    try:
        verdict = case.verdict()
        diagnosis = case.diagnosis(verdict, seen)
    except SignatureRejected as rejected:  # the fields are malformed
        diagnosis = Diagnosis(
            rejected.reason, "", (), (), "", "", certain_causes(request, rejected.reason, None, now, key)
        )
    return _without_secrets(diagnosis, request)


class _Case:
    """The diagnosis of one request."""

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

    def verdict(self) -> RejectionReason | None:
        """Authenticates the request as the authenticator does, except for replays."""
        try:
            self._check()
        except SignatureRejected as rejected:
            return rejected.reason
        return None

    def _check(self) -> None:
        require(bool(self.api_key), RejectionReason.API_KEY_MISSING)
        if self.is_signed:
            verify_any(self.request, self.given, self.now)
        else:
            require(self.given is not None, RejectionReason.API_KEY_UNKNOWN)
            require(self.given is not None and UNSIGNED in self.given, RejectionReason.SIGNATURE_REQUIRED)
        if self.key is not None:
            check_scope(self.key, self.request, self.now)

    def diagnosis(self, verdict: RejectionReason | None, seen: RejectionReason | None) -> Diagnosis:
        is_over = seen in _CHANGES_WITH_THE_KEYS or (self.key is not None and seen in _SCOPE_REASONS)
        if verdict is None and not is_over:
            verdict = seen
        signature = verify_candidates(self.request, self.given, self.now).signature if self.is_signed else None
        label = "" if signature is None else signature.label
        candidates = self._candidates() if self.is_signed else ()
        others = tuple(candidate.label for candidate in candidates if candidate.label != label)
        causes = self._causes(verdict, signature)
        if candidates and verdict is not None and not any(candidate.names_key for candidate in candidates):
            causes = (*causes, *signed_by_others(causes))
        if signature is None:
            return Diagnosis(verdict, "", others, (), "", "", causes)
        expected, sent = self._expected(signature), _beginning(signature.value)
        is_partial = self._hashed >= MAX_HASHED and not causes[0].is_certain
        return Diagnosis(verdict, label, others, self._base(signature), sent, expected, causes, is_partial)

    def _causes(self, verdict: RejectionReason | None, signature: Signature | None) -> tuple[Cause, ...]:
        if signature is not None and verdict is RejectionReason.SIGNATURE_WRONG:
            found = self._confirmed(signature)
            return (*found, *clock_causes(signature, self.now)) if found else likely_causes(self.request, self.hints)
        causes = certain_causes(self.request, verdict, signature, self.now, self.key)
        if signature is not None and verdict is RejectionReason.API_KEY_UNKNOWN:
            return (*self._confirmed(signature), *causes)
        return causes

    def _expected(self, signature: Signature) -> str:
        lines = self._lines(signature, {})
        if lines is None or not self.secrets:
            return "none can be computed"
        return " or ".join(_beginning(mac(secret, lines, signature.renderings[0])) for secret in self.secrets[:2])

    def _candidates(self) -> tuple[Candidate, ...]:
        header = self.request.header
        return parse(header("signature-input") or "", header("signature") or "", self.api_key)

    # ---- hypotheses ------------------------------------------------------------------------------

    def _confirmed(self, signature: Signature) -> tuple[Cause, ...]:
        """Returns the cause for the first hypothesis with which the signature verifies."""
        for hypothesis in islice(self._hypotheses(signature), MAX_TRIES):
            if self._verifies(signature, hypothesis):
                return (Cause(hypothesis.kind, remedy(hypothesis, self.request), True),)
            if self._hashed >= MAX_HASHED:
                break
        return ()

    def _hypotheses(self, signature: Signature) -> Iterator[Hypothesis]:
        keys = hypotheses.keys(self.request, self.hints)
        if not self.secrets:
            return keys
        hosts = hypotheses.hosts(self.request, self.hints)
        paths = hypotheses.paths(self.request, self.hints)
        own = (hypothesis for secret in self.secrets for hypothesis in hypotheses.secrets(secret))
        others = hypotheses.identifiers(self.request) + hypotheses.signer(self.request, signature.keyid)
        both = (
            Hypothesis(Kind.HOST, f"{h.text} and {p.text}", {**h.values, **p.values}) for h in hosts for p in paths
        )
        return chain(hosts, paths, own, others, keys, both)

    def _verifies(self, signature: Signature, hypothesis: Hypothesis) -> bool:
        lines = self._lines(signature, hypothesis.values)
        if lines is None:
            return False
        secrets = self.secrets if hypothesis.secret is None else (hypothesis.secret,)
        self._hashed += len(secrets) * sum(len(lines) + len(text) for text in signature.renderings)
        macs = [mac(secret, lines, text) for secret in secrets for text in signature.renderings]
        return any(hmac.compare_digest(expected, signature.value) for expected in macs)

    def _lines(self, signature: Signature, values: Mapping[str, str]) -> str | None:
        covered = [(name, values.get(name, self._component(name))) for name in signature.components]
        text = "".join(f'"{name}": {value}\n' for name, value in covered)
        return text if text.isascii() and all(value is not None for _, value in covered) else None

    def _component(self, name: str) -> str | None:
        """Returns the value of a component, None if it is not in the request. Cached for the many hypotheses."""
        if name not in self._components:
            try:
                self._components[name] = self.request.component(name)
            except SignatureRejected:
                self._components[name] = None
        return self._components[name]

    # ---- output ----------------------------------------------------------------------------------

    def _base(self, signature: Signature) -> tuple[str, ...]:
        parameters = _STRING_PARAMETER.sub(lambda found: f'{found[1]}"{hint(found[2])}"', signature.renderings[0])
        return (*map(self._line, signature.components), f'"@signature-params": {parameters}')

    def _line(self, name: str) -> str:
        value = self._component(name)
        if value is None:
            return f'"{name}": (not in the request)'
        return f'"{name}": {value if name in _SHOWN else hint(value)}'


#: Reasons that no longer apply when the keys have been corrected.
_CHANGES_WITH_THE_KEYS = frozenset(
    {
        RejectionReason.API_KEY_UNKNOWN,
        RejectionReason.SIGNATURE_REQUIRED,
        RejectionReason.SIGNATURE_UNEXPECTED,
        RejectionReason.SIGNATURE_WRONG,
    }
)
_SCOPE_REASONS = frozenset(
    {RejectionReason.KEY_EXPIRED, RejectionReason.ORGANIZATION_NOT_ALLOWED, RejectionReason.ROUTE_NOT_ALLOWED}
)


def _beginning(value: bytes) -> str:
    size = f"({len(value)} bytes)"
    return f"{base64.b64encode(value)[:6].decode()}... {size}" if len(value) == MAC_SIZE else size


def _without_secrets(diagnosis: Diagnosis, request: UpgradeRequest) -> Diagnosis:
    """Redacts all texts again: an API key may occur in a query, or in any unexpected place."""
    return replace(
        diagnosis,
        label=redacted(diagnosis.label, request),
        others=tuple(redacted(label, request) for label in diagnosis.others[:MAX_LABELS]),
        base=tuple(redacted(line, request) for line in diagnosis.base),
        causes=tuple(replace(cause, text=redacted(cause.text, request)) for cause in diagnosis.causes),
    )
