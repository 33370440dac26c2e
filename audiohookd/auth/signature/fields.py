"""The header fields Signature-Input and Signature, read and type-checked. Nothing is verified here."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import http_sf

from audiohookd.auth.rejection import RejectionReason, SignatureRejected, require

_PARAMETER_TYPES = {"keyid": str, "nonce": str, "alg": str, "created": int, "expires": int}
_REQUIRED_PARAMETERS = {"keyid", "nonce", "created"}

# A member of a dictionary: all up to a comma that is in no string. For text that http_sf has accepted.
_MEMBER = re.compile(r'(?:%"[^"]*"|"(?:[^"\\]|\\.)*"|[^,"])+')


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature of a request, parsed and of the right types, but not verified.

    `label` is its name in both fields. `created` and `expires` are UNIX seconds. `renderings` are the spellings of
    component list and parameters that the signer may have signed: the canonical one, and the one that was sent. They
    mean the same, and signers differ in which they use. Parameters not named here are in the renderings and otherwise
    ignored.
    """

    label: str
    components: tuple[str, ...]
    keyid: str = field(repr=False)  # an API key, which is all that an unsigned client needs
    nonce: str
    created: int
    expires: int | None
    alg: str | None
    renderings: tuple[str, ...] = field(repr=False)
    value: bytes = field(repr=False)


#: Characters of the two fields that are looked at. Genesys Cloud sends about 300 and 60, and an intermediary that
#: signs with RSA of 4,096 bits adds 700. The parser is pure Python, and 16 KB of junk, from anybody, took 13 ms of
#: every call's time.
MAX_INPUT = 2_048
MAX_SIGNATURE = 1_024
#: Signatures of a request that are verified at most. Each costs up to eight MACs.
MAX_VERIFIED = 4


class Candidate(NamedTuple):
    """A label that is in both fields: a signature that may be AudioHook's, or the reason why it is none.

    `names_key` tells whether its `keyid` is the API key of the request.
    """

    label: str
    names_key: bool
    signature: Signature | None
    fault: RejectionReason | None


def parse(signature_input: str, signature: str, api_key: str | None = None) -> tuple[Candidate, ...]:
    """Read the signatures that are in both fields, whatever their labels. One at least.

    Intermediaries may add signatures of their own (RFC 9421, section 3.2). Signatures with `api_key` as `keyid` come
    first, then all others, in their order; beyond `MAX_VERIFIED` signatures the rest is left out.

    :raises SignatureRefused: the fields cannot be read as a whole, or have no label in common. Nothing else is
        raised, for any text.
    """
    try:
        return tuple(_candidates(signature_input, signature, api_key))
    except ValueError as fault:  # what http_sf raises, and encode() for text that is not ASCII
        # One of http_sf's frames keeps the exception, which keeps them all, down to the connection.
        fault.__traceback__ = None
        raise SignatureRejected(RejectionReason.MALFORMED) from None


def _candidates(signature_input: str, signature: str, api_key: str | None) -> Iterator[Candidate]:
    require(len(signature_input) <= MAX_INPUT and len(signature) <= MAX_SIGNATURE, RejectionReason.MALFORMED)
    inputs, values = _dictionary(signature_input), _dictionary(signature)
    labels = [label for label in inputs if label in values]
    require(bool(labels), RejectionReason.SIGNATURE_INCOMPLETE)
    names_key = {label: api_key is not None and _keyid(inputs[label]) == api_key for label in labels}
    sent, left = _sent(signature_input), MAX_VERIFIED
    for label in sorted(labels, key=names_key.__getitem__, reverse=True):
        try:
            read = _read(label, inputs[label], values[label], sent.get(label, ""))
        except SignatureRejected as refused:
            yield Candidate(label, names_key[label], None, refused.reason)
        else:
            yield Candidate(label, names_key[label], read, None)
            left -= 1
        if not left:
            return


def _keyid(member: Any) -> Any:
    _, parameters = member
    return parameters.get("keyid")


def _read(label: str, member: Any, signature: Any, sent: str) -> Signature:
    (components, parameters), (value, _) = member, signature
    require(isinstance(components, list) and isinstance(value, bytes), RejectionReason.MALFORMED)
    _check_parameters(parameters)
    return Signature(
        label=label,
        components=_names(components),
        keyid=parameters["keyid"],
        nonce=parameters["nonce"],
        created=parameters["created"],
        expires=parameters.get("expires"),
        alg=parameters.get("alg"),
        renderings=_renderings(member, sent),
        value=value,
    )


def _dictionary(text: str) -> dict[str, Any]:
    raw = text.encode("ascii")
    members: dict[str, Any] = http_sf.parse(raw, tltype="dictionary", on_duplicate_key=_refuse_duplicate)
    return members


def _refuse_duplicate(_key: str, _context: str) -> None:
    # Structured fields let the last one win. Two parsers that disagree about that are a way around a check.
    raise SignatureRejected(RejectionReason.DUPLICATE)


def _check_parameters(parameters: dict[str, Any]) -> None:
    require(parameters.keys() >= _REQUIRED_PARAMETERS, RejectionReason.PARAMETER_MISSING)
    for name, expected in _PARAMETER_TYPES.items():
        # The exact type: True is an int to isinstance, and 1.5 is a Decimal.
        require(name not in parameters or type(parameters[name]) is expected, RejectionReason.MALFORMED)


def _names(components: list[tuple[Any, dict[str, Any]]]) -> tuple[str, ...]:
    for name, parameters in components:
        require(type(name) is str, RejectionReason.MALFORMED)
        require(not parameters, RejectionReason.COMPONENT_UNSUPPORTED)
    names = tuple(name for name, _ in components)
    require(len(set(names)) == len(names), RejectionReason.DUPLICATE)
    return names


def _renderings(member: Any, sent: str) -> tuple[str, ...]:
    canonical: str = http_sf.ser([member])
    return (canonical,) if sent == canonical else (canonical, sent)


def _sent(text: str) -> dict[str, str]:
    """Each list as it was sent, from its opening parenthesis on, by its label; http_sf does not keep it."""
    members: list[str] = _MEMBER.findall(text)
    named = (member.strip(" \t").partition("=") for member in members)
    return {name: value for name, _, value in named}
