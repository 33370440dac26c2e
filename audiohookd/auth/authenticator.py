"""Who may open a session: API key, signature and replay taken together. What I/O there is, the replay store does."""

from dataclasses import dataclass, field
from functools import partial

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.python.failure import Failure

from audiohookd.auth.fields import Signature
from audiohookd.auth.keys import UNSIGNED, IKeys
from audiohookd.auth.refusal import Refusal, SignatureRefused, demand
from audiohookd.auth.replay import IReplayStore, StoreDown, fingerprint, replay_window
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.scope import check_scope
from audiohookd.auth.signature import CLOCK_SKEW, MAX_AGE, verify_any


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may become a session, and for our own log why not.

    `api_key` and `organization_id` are what the request says, None where it says nothing; believe them only
    if it was accepted. `signed` tells whether it carried a signature, or a part of one. `reason` is None
    exactly if it was accepted. `once` is the same for two requests exactly if they have the same nonce of the
    same key; None without a signature that verified. The representation leaves the API key out: unsigned, it is a
    password.
    """

    accepted: bool
    api_key: str | None = field(repr=False)
    organization_id: str | None
    reason: Refusal | None
    signed: bool
    once: bytes | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Authenticator:
    """The rules by which requests are let in. Give a new one the old `replay` when the keys change.

    `max_age` and `skew` are in seconds, see `signature.verify`. Without a `replay` store, a request can be
    repeated until it is too old.

    :raises ValueError: the store forgets a nonce while its signature would still verify.
    """

    keys: IKeys
    replay: IReplayStore | None
    max_age: float = MAX_AGE
    skew: float = CLOCK_SKEW

    def __post_init__(self) -> None:
        needed = replay_window(self.max_age, self.skew)
        if self.replay is not None and self.replay.window < needed:
            raise ValueError(f"a replay window of {self.replay.window} s is too short: {needed} s are needed")

    def authenticate(self, request: UpgradeRequest, now: float) -> "Deferred[Verdict]":
        """Judge a request at the UNIX time `now`. Does not fail for any request.

        Has fired already where nothing is to be waited for; only who signed rightly waits for the replay store.
        Remembers the nonce of an accepted one, so ask once for each request. That the time taken tells
        nothing about the answer is for the caller to see to: answer every refusal after the same delay.
        """
        signed = "signature" in request.headers or "signature-input" in request.headers
        try:
            signature = self._judge(request, signed, now)
        except SignatureRefused as refused:
            return succeed(_verdict(request, signed, refused.reason))
        # Last, so that only who has the secret can put anything into the store.
        once = None if signature is None else fingerprint(signature.keyid, signature.nonce)
        return self._seen_before(signature).addCallback(partial(_verdict, request, signed, once=once))

    def _judge(self, request: UpgradeRequest, signed: bool, now: float) -> Signature | None:
        api_key = request.header("x-api-key")
        if not api_key:
            raise SignatureRefused(Refusal.API_KEY_MISSING)
        key = self.keys.lookup(api_key)
        secrets = None if key is None else key.secrets_at(now)
        signature = None
        if signed:
            signature = verify_any(request, secrets, now, max_age=self.max_age, skew=self.skew)
        else:
            demand(secrets is not None, Refusal.API_KEY_UNKNOWN)
            demand(secrets is not None and UNSIGNED in secrets, Refusal.SIGNATURE_REQUIRED)
        if key is not None:
            check_scope(key, request, now)
        return signature

    def _seen_before(self, signature: Signature | None) -> "Deferred[Refusal | None]":
        if signature is None or self.replay is None:
            return succeed(None)
        asked = maybeDeferred(self.replay.first_use, signature.keyid, signature.nonce, signature.created)
        return asked.addCallbacks(_unless_first, _unless_answered)


def _unless_first(first: bool) -> Refusal | None:
    return None if first else Refusal.REPLAYED


def _unless_answered(failure: Failure) -> Refusal:
    failure.trap(StoreDown)
    return Refusal.REPLAY_STORE_DOWN


def _verdict(request: UpgradeRequest, signed: bool, reason: Refusal | None, once: bytes | None = None) -> Verdict:
    return Verdict(
        accepted=reason is None,
        api_key=request.header("x-api-key"),
        organization_id=request.header("audiohook-organization-id"),
        reason=reason,
        signed=signed,
        once=once,
    )
