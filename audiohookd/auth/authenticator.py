"""Who may open a session: API key, signature and replay taken together. Still without I/O."""

from dataclasses import dataclass, field

from audiohookd.auth.keys import Keys
from audiohookd.auth.refusal import Refusal, SignatureRefused, demand
from audiohookd.auth.replay import MemoryReplayStore, replay_window
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.signature import CLOCK_SKEW, MAX_AGE, verify


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may become a session, and for our own log why not.

    `api_key` and `organization_id` are what the request says, None where it says nothing; believe them only
    if it was accepted. `signed` tells whether it carried a signature, or a part of one. `reason` is None
    exactly if it was accepted. The representation leaves the API key out: unsigned, it is a password.
    """

    accepted: bool
    api_key: str | None = field(repr=False)
    organization_id: str | None
    reason: Refusal | None
    signed: bool


@dataclass(frozen=True, slots=True)
class Authenticator:
    """The rules by which requests are let in. Give a new one the old `replay` when the keys change.

    `max_age` and `skew` are in seconds, see `signature.verify`. Without a `replay` store, a request can be
    repeated until it is too old.

    :raises ValueError: the store forgets a nonce while its signature would still verify.
    """

    keys: Keys
    replay: MemoryReplayStore | None
    max_age: float = MAX_AGE
    skew: float = CLOCK_SKEW

    def __post_init__(self) -> None:
        needed = replay_window(self.max_age, self.skew)
        if self.replay is not None and self.replay.window < needed:
            raise ValueError(f"a replay window of {self.replay.window} s is too short: {needed} s are needed")

    def authenticate(self, request: UpgradeRequest, now: float) -> Verdict:
        """Judge a request at the UNIX time `now`. Raises nothing for any request.

        Remembers the nonce of an accepted one, so ask once for each request. That the time taken tells
        nothing about the answer is for the caller to see to: answer every refusal after the same delay.
        """
        signed = "signature" in request.headers or "signature-input" in request.headers
        try:
            self._judge(request, signed, now)
        except SignatureRefused as refused:
            return _verdict(request, signed, refused.reason)
        return _verdict(request, signed, None)

    def _judge(self, request: UpgradeRequest, signed: bool, now: float) -> None:
        api_key = request.header("x-api-key")
        if not api_key:
            raise SignatureRefused(Refusal.API_KEY_MISSING)
        secret = self.keys.lookup(api_key)
        if signed:
            self._judge_signature(request, secret, now)
        else:
            demand(secret is not None, Refusal.API_KEY_UNKNOWN)
            demand(secret == b"", Refusal.SIGNATURE_REQUIRED)

    def _judge_signature(self, request: UpgradeRequest, secret: bytes | None, now: float) -> None:
        signature = verify(request, secret, now, max_age=self.max_age, skew=self.skew)
        # Last, so that only who has the secret can put anything into the store.
        first = self.replay is None or self.replay.first_use(signature.keyid, signature.nonce, now)
        demand(first, Refusal.REPLAYED)


def _verdict(request: UpgradeRequest, signed: bool, reason: Refusal | None) -> Verdict:
    return Verdict(
        accepted=reason is None,
        api_key=request.header("x-api-key"),
        organization_id=request.header("audiohook-organization-id"),
        reason=reason,
        signed=signed,
    )
