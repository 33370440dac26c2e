"""The header fields Signature-Input and Signature, read and type-checked. Nothing is verified here."""

import re
from dataclasses import dataclass, field
from typing import Any

import http_sf

from audiohookd.auth.refusal import Refusal, SignatureRefused, demand

_PARAMETER_TYPES = {"keyid": str, "nonce": str, "alg": str, "created": int, "expires": int}
_REQUIRED_PARAMETERS = {"keyid", "nonce", "created"}

# A member of a dictionary: all up to a comma that is in no string. For text that http_sf has accepted.
_MEMBER = re.compile(r'(?:%"[^"]*"|"(?:[^"\\]|\\.)*"|[^,"])+')


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature of a request, parsed and of the right types, but not verified.

    `created` and `expires` are UNIX seconds. `renderings` are the spellings of component list and parameters
    that the signer may have signed: the canonical one, and the one that was sent. They mean the same, and
    signers differ in which they use. Parameters not named here are in the renderings and otherwise ignored.
    """

    components: tuple[str, ...]
    keyid: str = field(repr=False)  # an API key, which is all that an unsigned client needs
    nonce: str
    created: int
    expires: int | None
    alg: str | None
    renderings: tuple[str, ...] = field(repr=False)
    value: bytes = field(repr=False)


#: Characters of the two fields that are looked at. Genesys Cloud sends about 300 and 60; the parser is pure Python,
#: and 16 KB of junk, from anybody, took 13 ms of every call's time.
MAX_INPUT = 2_048
MAX_SIGNATURE = 512


def parse(signature_input: str, signature: str) -> Signature:
    """Read the first signature that is in both fields, whatever its label; further ones are not looked at.

    :raises SignatureRefused: whatever is wrong with the fields. Nothing else is raised, for any text.
    """
    try:
        return _parse(signature_input, signature)
    except ValueError as fault:  # what http_sf raises, and encode() for text that is not ASCII
        # One of http_sf's frames keeps the exception, which keeps them all, down to the connection.
        fault.__traceback__ = None
        raise SignatureRefused(Refusal.MALFORMED) from None


def _parse(signature_input: str, signature: str) -> Signature:
    demand(len(signature_input) <= MAX_INPUT and len(signature) <= MAX_SIGNATURE, Refusal.MALFORMED)
    inputs, values = _dictionary(signature_input), _dictionary(signature)
    label = next((label for label in inputs if label in values), None)
    if label is None:
        raise SignatureRefused(Refusal.SIGNATURE_INCOMPLETE)
    (components, parameters), (value, _) = inputs[label], values[label]
    demand(isinstance(components, list) and isinstance(value, bytes), Refusal.MALFORMED)
    _check_parameters(parameters)
    return Signature(
        components=_names(components),
        keyid=parameters["keyid"],
        nonce=parameters["nonce"],
        created=parameters["created"],
        expires=parameters.get("expires"),
        alg=parameters.get("alg"),
        renderings=_renderings(signature_input, label, inputs[label]),
        value=value,
    )


def _dictionary(text: str) -> dict[str, Any]:
    raw = text.encode("ascii")
    members: dict[str, Any] = http_sf.parse(raw, tltype="dictionary", on_duplicate_key=_refuse_duplicate)
    return members


def _refuse_duplicate(_key: str, _context: str) -> None:
    # Structured fields let the last one win. Two parsers that disagree about that are a way around a check.
    raise SignatureRefused(Refusal.DUPLICATE)


def _check_parameters(parameters: dict[str, Any]) -> None:
    demand(parameters.keys() >= _REQUIRED_PARAMETERS, Refusal.PARAMETER_MISSING)
    for name, expected in _PARAMETER_TYPES.items():
        # The exact type: True is an int to isinstance, and 1.5 is a Decimal.
        demand(name not in parameters or type(parameters[name]) is expected, Refusal.MALFORMED)


def _names(components: list[tuple[Any, dict[str, Any]]]) -> tuple[str, ...]:
    for name, parameters in components:
        demand(type(name) is str, Refusal.MALFORMED)
        demand(not parameters, Refusal.COMPONENT_UNSUPPORTED)
    names = tuple(name for name, _ in components)
    demand(len(set(names)) == len(names), Refusal.DUPLICATE)
    return names


def _renderings(text: str, label: str, member: Any) -> tuple[str, ...]:
    canonical: str = http_sf.ser([member])
    sent = _sent(text, label)
    return (canonical,) if sent == canonical else (canonical, sent)


def _sent(text: str, label: str) -> str:
    """The member as it was sent, from its opening parenthesis on; http_sf does not keep it."""
    members: list[str] = _MEMBER.findall(text)
    named = (member.strip(" \t").partition("=") for member in members)
    return next(value for name, _, value in named if name == label)
