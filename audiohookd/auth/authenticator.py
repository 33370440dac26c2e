"""Authenticates an upgrade request by API key, signature and nonce. Only the replay store does I/O."""

from dataclasses import dataclass, field
from functools import partial

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure

from audiohookd.auth.keys.model import UNSIGNED, IKeys
from audiohookd.auth.keys.scope import check_scope
from audiohookd.auth.rejection import RejectionReason, SignatureRejected, require
from audiohookd.auth.replay.store import IReplayStore, StoreUnavailable, nonce_digest, replay_window
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature.fields import Signature
from audiohookd.auth.signature.message_signature import CLOCK_SKEW, MAX_AGE, verify_any


@dataclass(frozen=True, slots=True)
class AuthResult:
    """Whether a request is accepted, and if not, why. The representation leaves out the API key, which is a password.

    :param api_key: as in the request, None if absent. Trust it only if the request was accepted.
    :param organization_id: as in the request, None if absent. Trust it only if the request was accepted.
    :param reason: why the request is rejected; None if it is accepted. For the log only.
    :param signed: whether the request has a signature, or a part of one.
    :param nonce_id: identifies the pair of key and nonce; None without a verified signature.
    """

    accepted: bool
    api_key: str | None = field(repr=False)
    organization_id: str | None
    reason: RejectionReason | None
    signed: bool
    nonce_id: bytes | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Accepts or rejects upgrade requests. When the keys change, pass the same ``replay`` store to the new one.

    :param replay: the replay store. With None, a request can be replayed until it is too old.
    :param max_age: seconds, see :func:`.message_signature.verify_candidates`; ``skew`` likewise.
    :raises ValueError: the store expires a nonce while its signature would still verify.
    """

    keys: IKeys
    replay: IReplayStore | None
    max_age: float = MAX_AGE
    skew: float = CLOCK_SKEW

    def __post_init__(self) -> None:
        needed = replay_window(self.max_age, self.skew)
        if self.replay is not None and self.replay.window < needed:
            raise ValueError(f"a replay window of {self.replay.window} s is too short: {needed} s are needed")

    def authenticate(self, request: UpgradeRequest, now: float) -> "Deferred[AuthResult]":
        """Authenticates a request at the UNIX time ``now``. The Deferred does not fail for any request.

        Only a request with a valid signature waits for the replay store; otherwise the Deferred has fired already.
        Call this once for each request: it stores the nonce of an accepted one. The caller must hide the time that
        this takes, by sending every rejection after the same delay.
        """
        signed = "signature" in request.headers or "signature-input" in request.headers
        try:
            signature = self._check(request, signed, now)
        except SignatureRejected as rejected:
            return succeed(_result(request, signed, rejected.reason))
        # Last, so that only a client with the secret can add to the store.
        nonce_id = None if signature is None else nonce_digest(signature.keyid, signature.nonce)
        return self._check_replay(signature).addCallback(partial(_result, request, signed, nonce_id=nonce_id))

    def _check(self, request: UpgradeRequest, signed: bool, now: float) -> Signature | None:
        api_key = request.header("x-api-key")
        if not api_key:
            raise SignatureRejected(RejectionReason.API_KEY_MISSING)
        key = self.keys.lookup(api_key)
        secrets = None if key is None else key.secrets_at(now)
        signature = None
        if signed:
            signature = verify_any(request, secrets, now, max_age=self.max_age, skew=self.skew)
        else:
            require(secrets is not None, RejectionReason.API_KEY_UNKNOWN)
            require(secrets is not None and UNSIGNED in secrets, RejectionReason.SIGNATURE_REQUIRED)
        if key is not None:
            check_scope(key, request, now)
        return signature

    def _check_replay(self, signature: Signature | None) -> "Deferred[RejectionReason | None]":
        if signature is None or self.replay is None:
            return succeed(None)
        answer = maybeDeferred(self.replay.first_use, signature.keyid, signature.nonce, signature.created)
        return answer.addCallbacks(_rejection_of_replay, _rejection_of_outage)


def _rejection_of_replay(first: bool) -> RejectionReason | None:
    return None if first else RejectionReason.REPLAYED


def _rejection_of_outage(failure: Failure) -> RejectionReason:
    failure.trap(StoreUnavailable)
    return RejectionReason.REPLAY_STORE_DOWN


def _result(
    request: UpgradeRequest, signed: bool, reason: RejectionReason | None, nonce_id: bytes | None = None
) -> AuthResult:
    return AuthResult(
        accepted=reason is None,
        api_key=request.header("x-api-key"),
        organization_id=request.header("audiohook-organization-id"),
        reason=reason,
        signed=signed,
        nonce_id=nonce_id,
    )
