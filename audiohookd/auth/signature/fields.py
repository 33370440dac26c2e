"""Parses and type-checks the header fields Signature-Input and Signature, without verifying the signature."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import http_sf

from audiohookd.auth.rejection import RejectionReason, SignatureRejected, require

_PARAMETER_TYPES = {"keyid": str, "nonce": str, "alg": str, "created": int, "expires": int}
_REQUIRED_PARAMETERS = {"keyid", "nonce", "created"}

# A member of a dictionary: all text up to a comma outside of a string. Only for text that http_sf has accepted.
_MEMBER = re.compile(r'(?:%"[^"]*"|"(?:[^"\\]|\\.)*"|[^,"])+')


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature of a request, parsed and of the right types, but not verified.

    ``label`` is its name in both fields. ``created`` and ``expires`` are UNIX seconds. ``renderings`` are the
    spellings of component list and parameters that the signer may have signed: the canonical one, and the one in the
    request. Signers differ in which of them they sign. All other parameters are part of the renderings, and ignored.
    """

    label: str
    components: tuple[str, ...]
    keyid: str = field(repr=False)  # an API key, which is a password for unsigned requests
    nonce: str
    created: int
    expires: int | None
    alg: str | None
    renderings: tuple[str, ...] = field(repr=False)
    value: bytes = field(repr=False)


#: Longest Signature-Input and Signature, in characters. Genesys Cloud sends about 300 and 60, and an intermediary
#: that signs with RSA of 4,096 bits adds 700. The parser is pure Python: 16 KB of junk from any client blocked all
#: calls for 13 ms.
MAX_INPUT = 2_048
MAX_SIGNATURE = 1_024
#: Most signatures of a request that are verified. Each costs up to eight MACs.
MAX_VERIFIED = 4


class Candidate(NamedTuple):
    """A label that is in both fields, with its signature, or with the reason why it is not a valid one.

    ``names_key`` tells whether its ``keyid`` is the API key of the request.
    """

    label: str
    names_key: bool
    signature: Signature | None
    fault: RejectionReason | None


def parse(signature_input: str, signature: str, api_key: str | None = None) -> tuple[Candidate, ...]:
    """Parses the signatures that are in both fields, with any labels. Returns at least one.

    Intermediaries may add signatures of their own (RFC 9421, section 3.2). Signatures with ``api_key`` as ``keyid``
    come first, then all others in their order. Signatures beyond :data:`MAX_VERIFIED` are left out.

    :raises SignatureRejected: the fields are malformed, or have no label in common. No text raises anything else.
    """
    try:
        return tuple(_candidates(signature_input, signature, api_key))
    except ValueError as error:  # raised by http_sf, and by encode() for text that is not ASCII
        # A frame of http_sf keeps the exception, and its traceback would keep all frames down to the connection.
        error.__traceback__ = None
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
        except SignatureRejected as rejected:
            yield Candidate(label, names_key[label], None, rejected.reason)
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
    # In structured fields the last duplicate wins. Parsers that disagree about that could be used to bypass a check.
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
    """Returns each list as it was sent, from its opening parenthesis on, by its label. http_sf does not keep it."""
    members: list[str] = _MEMBER.findall(text)
    named = (member.strip(" \t").partition("=") for member in members)
    return {name: value for name, _, value in named}
