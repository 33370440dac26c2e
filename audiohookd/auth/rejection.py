"""The reasons for which a request is rejected: a closed list, for the log and the counters."""

from enum import StrEnum


class RejectionReason(StrEnum):
    """The reason for which a request is rejected.

    The values are stable names for logs and metrics. They are never sent to the client, which learns only that it
    is not authorized (protocol section 2.4).
    """

    API_KEY_MISSING = "api-key-missing"
    API_KEY_UNKNOWN = "api-key-unknown"
    SIGNATURE_REQUIRED = "signature-required"  # the key has a secret, the request is unsigned
    SIGNATURE_UNEXPECTED = "signature-unexpected"  # the key has no secret, so the signature proves nothing
    SIGNATURE_INCOMPLETE = "signature-incomplete"  # one of the two fields, or no label that is in both
    MALFORMED = "malformed"  # not a structured field, or a member or parameter has the wrong type
    DUPLICATE = "duplicate"  # a label, parameter or component that occurs twice
    PARAMETER_MISSING = "parameter-missing"  # created, keyid or nonce
    COMPONENT_UNSUPPORTED = "component-unsupported"  # has parameters, or is an unknown derived component
    COMPONENT_ABSENT = "component-absent"  # covered, but not in the request or not printable ASCII
    COMPONENT_NOT_COVERED = "component-not-covered"  # one of the six required ones
    SIGNATURE_WRONG = "signature-wrong"
    ALGORITHM_UNSUPPORTED = "algorithm-unsupported"
    KEYID_MISMATCH = "keyid-mismatch"  # keyid is not the API key of the request
    NONCE_TOO_SHORT = "nonce-too-short"
    TOO_OLD = "too-old"
    NOT_YET_VALID = "not-yet-valid"  # created in the future: one of the clocks is wrong
    EXPIRED = "expired"
    KEY_EXPIRED = "key-expired"  # the key's not_after, or the end of a rotation
    ORGANIZATION_NOT_ALLOWED = "organization-not-allowed"
    ROUTE_NOT_ALLOWED = "route-not-allowed"
    REPLAYED = "replayed"  # the nonce was used before, or the store is full
    REPLAY_STORE_DOWN = "replay-store-down"  # the replay store is down, so a replay cannot be detected


class SignatureRejected(Exception):
    """The request is rejected, for ``reason``. The text is safe to log: it quotes no part of the request."""

    def __init__(self, reason: RejectionReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def require(condition: bool, otherwise: RejectionReason) -> None:
    """Rejects the request unless ``condition`` holds.

    :raises SignatureRejected: the condition does not hold. ``otherwise`` is the reason.
    """
    if not condition:
        raise SignatureRejected(otherwise)
