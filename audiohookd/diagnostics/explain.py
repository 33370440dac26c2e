"""Explains why a request was rejected: the text that was verified, and the cause. Pure, and bounded.

A wrong signature is computed again for each hypothesis of :mod:`audiohookd.diagnostics.hypotheses`. A hypothesis that
verifies is confirmed. A diagnosis contains nothing that grants access: it shows fingerprints of keys and nonces, and
the first few characters of MACs.
"""

import base64
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from audiohookd.auth.authenticator import check_request
from audiohookd.auth.keys.model import Keys
from audiohookd.auth.rejection import RejectionReason, SignatureRejected
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.fields import Candidate, Signature, parse
from audiohookd.auth.signature.message_signature import mac, verify_candidates
from audiohookd.diagnostics.causes import Cause, certain_cause, component, likely_causes
from audiohookd.diagnostics.hypotheses import Hints, Hypothesis, hypotheses
from audiohookd.diagnostics.redaction import hint, redacted

#: Most bytes that are hashed for the hypotheses: enough for all of them on a request of the usual 500 bytes, with 4
#: secrets for its key. Without a bound, a head of 16 KiB took 80 MB of hashing.
MAX_HASHED = 4 << 20
MAC_SIZE = 32
#: Most labels of other signatures that are named.
MAX_LABELS = 8
#: A diagnosis without hints.
NO_HINTS: Final = Hints()
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
#: Reasons that only the daemon's record can show.
_REPLAY_REASONS = (RejectionReason.REPLAYED, RejectionReason.REPLAY_STORE_DOWN)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of a diagnosis.

    :param verdict: why the request is rejected; None if it is accepted.
    :param causes: at least one, the most likely first.
    :param label: the label of the decisive signature, empty without one. ``others`` are all other labels.
    :param base: the lines of the signature base.
    :param sent: the beginning of the MAC in the request, empty without one. ``expected``: that of the computed MACs.
    :param is_partial: not all hypotheses were tried, because the request is too long.
    """

    verdict: RejectionReason | None
    causes: tuple[Cause, ...]
    label: str = ""
    others: tuple[str, ...] = ()
    base: tuple[str, ...] = ()
    sent: str = ""
    expected: str = ""
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
    request: UpgradeRequest, keys: Keys, now: float, hints: Hints = NO_HINTS, seen: RejectionReason | None = None
) -> Diagnosis:
    """Explains why a request is rejected. No request raises an error.

    Takes some milliseconds at most.

    :param now: the UNIX time at which the request arrived.
    :param seen: why the daemon rejected the request then, if it did.
    """
    key = keys.lookup(request.header("x-api-key") or "")
    secrets = None if key is None else key.secrets_at(now)
    try:
        check_request(request, key, now)
        verdict = seen if seen in _REPLAY_REASONS else None
    except SignatureRejected as rejected:
        verdict = rejected.reason
    candidates, signature = _signatures(request, secrets, now)
    if signature is None:
        diagnosis = Diagnosis(verdict, (certain_cause(request, verdict, None, now, key),))
    else:
        trial = _Trial(request, signature, tuple(filter(None, secrets or ())))
        causes: tuple[Cause, ...] = ()
        if verdict in (RejectionReason.SIGNATURE_WRONG, RejectionReason.API_KEY_UNKNOWN):
            causes = trial.confirmed(hypotheses(request, trial.secrets, keys, now, hints))
        if verdict is not RejectionReason.SIGNATURE_WRONG:
            causes = (*causes, certain_cause(request, verdict, signature, now, key))
        diagnosis = trial.diagnosis(verdict, causes or likely_causes(request, hints))
    others = tuple(candidate.label for candidate in candidates if candidate.label != diagnosis.label)
    return _without_secrets(replace(diagnosis, others=others), request)


def _signatures(
    request: UpgradeRequest, secrets: tuple[bytes, ...] | None, now: float
) -> tuple[tuple[Candidate, ...], Signature | None]:
    """Returns all signatures of a request, and the decisive one. None of them if the fields are malformed."""
    if not request.is_signed:
        return (), None
    fields = request.header("signature-input") or "", request.header("signature") or ""
    try:
        return parse(*fields, request.header("x-api-key")), verify_candidates(request, secrets, now).signature
    except SignatureRejected:
        return (), None


class _Trial:
    """Computes the MAC of one signature for hypotheses."""

    def __init__(self, request: UpgradeRequest, signature: Signature, secrets: tuple[bytes, ...]) -> None:
        self.secrets = secrets
        self._request = request
        self._signature = signature
        self._components = {name: component(request, name) for name in signature.components}
        self._is_partial = False

    def confirmed(self, tried: Iterable[Hypothesis]) -> tuple[Cause, ...]:
        """Returns the cause for the first hypothesis with which the signature verifies."""
        signature, hashed = self._signature, 0
        for hypothesis in tried:
            lines = self._lines(hypothesis.values)
            if lines is None:
                continue
            secrets = self.secrets if hypothesis.secret is None else (hypothesis.secret,)
            macs = [mac(secret, lines, text) for secret in secrets for text in signature.renderings]
            if any(hmac.compare_digest(expected, signature.value) for expected in macs):
                return (Cause(hypothesis.explained(self._request)),)
            hashed += len(secrets) * sum(len(lines) + len(text) for text in signature.renderings)
            if hashed >= MAX_HASHED:
                self._is_partial = True
                break
        return ()

    def diagnosis(self, verdict: RejectionReason | None, causes: tuple[Cause, ...]) -> Diagnosis:
        """Returns the diagnosis with the base of the signature."""
        signature, lines, expected = self._signature, self._lines({}), "none can be computed"
        if lines is not None and self.secrets:
            macs = [mac(secret, lines, signature.renderings[0]) for secret in self.secrets[:2]]
            expected = " or ".join(map(_beginning, macs))
        parameters = _STRING_PARAMETER.sub(lambda found: f'{found[1]}"{hint(found[2])}"', signature.renderings[0])
        base = (*map(self._shown, signature.components), f'"@signature-params": {parameters}')
        sent, is_partial = _beginning(signature.value), self._is_partial
        return Diagnosis(verdict, causes, signature.label, (), base, sent, expected, is_partial)

    def _lines(self, values: Mapping[str, str]) -> str | None:
        """Returns the lines of the components with other values; None if a component is not in the request."""
        covered = [(name, values.get(name, value)) for name, value in self._components.items()]
        text = "".join(f'"{name}": {value}\n' for name, value in covered)
        return text if text.isascii() and all(value is not None for _, value in covered) else None

    def _shown(self, name: str) -> str:
        value = self._components[name]
        if value is None:
            return f'"{name}": (not in the request)'
        return f'"{name}": {value if name in _SHOWN else hint(value)}'


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
        causes=tuple(cause._replace(text=redacted(cause.text, request)) for cause in diagnosis.causes),
    )
