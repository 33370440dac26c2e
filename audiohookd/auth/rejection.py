"""Why a request was not let in: a closed list, for our own log and counters."""

from enum import StrEnum


class RejectionReason(StrEnum):
    """The one reason a request was refused.

    The values are stable names for logs and metrics. They are never sent to the peer: whoever asks wrongly
    learns only that he asked wrongly (protocol section 2.4).
    """

    API_KEY_MISSING = "api-key-missing"
    API_KEY_UNKNOWN = "api-key-unknown"
    SIGNATURE_REQUIRED = "signature-required"  # the key has a secret, the request is unsigned
    SIGNATURE_UNEXPECTED = "signature-unexpected"  # the key has no secret: whoever likes could have signed
    SIGNATURE_INCOMPLETE = "signature-incomplete"  # one of the two fields, or no label that is in both
    MALFORMED = "malformed"  # not a structured field, or a member or parameter of the wrong type
    DUPLICATE = "duplicate"  # a label, parameter or component that occurs twice
    PARAMETER_MISSING = "parameter-missing"  # created, keyid or nonce
    COMPONENT_UNSUPPORTED = "component-unsupported"  # has parameters, or is derived in a way we do not know
    COMPONENT_ABSENT = "component-absent"  # covered, but not in the request or not printable ASCII
    COMPONENT_NOT_COVERED = "component-not-covered"  # one of the six required ones
    SIGNATURE_WRONG = "signature-wrong"
    ALGORITHM_UNSUPPORTED = "algorithm-unsupported"
    KEYID_MISMATCH = "keyid-mismatch"  # keyid is not the API key of the request
    NONCE_TOO_SHORT = "nonce-too-short"
    TOO_OLD = "too-old"
    NOT_YET_VALID = "not-yet-valid"  # created in the future: somebody's clock is wrong
    EXPIRED = "expired"
    KEY_EXPIRED = "key-expired"  # the key's not_after, or the end of a rotation
    ORGANIZATION_NOT_ALLOWED = "organization-not-allowed"
    ROUTE_NOT_ALLOWED = "route-not-allowed"
    REPLAYED = "replayed"  # nonce seen before, or too many nonces to remember one more
    REPLAY_STORE_DOWN = "replay-store-down"  # whether it was seen before, nobody can tell now


class SignatureRejected(Exception):
    """A signature that does not count, and the `Refusal` why. Its text is safe to log: it quotes nothing."""

    def __init__(self, reason: RejectionReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def require(condition: bool, otherwise: RejectionReason) -> None:
    """State a rule that a signature has to meet.

    :raises SignatureRefused: with the reason `otherwise`, when the condition does not hold.
    """
    if not condition:
        raise SignatureRejected(otherwise)
