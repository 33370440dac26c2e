"""The last requests that were rejected. In memory only, and bounded."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from audiohookd.auth.diagnosis import diagnose
from audiohookd.auth.keys import Keys
from audiohookd.auth.redaction import redacted
from audiohookd.auth.refusal import Refusal
from audiohookd.auth.request import UpgradeRequest
from audiohookd.auth.suspects import HINTS_TAKEN, Hints, pairs

#: Nobody says what was called.
NO_HINTS: Final = Hints()
#: Requests that are kept. A head is 16 KiB at most, so these are two megabytes at worst.
LIMIT = 50


@dataclass(frozen=True, eq=False, slots=True)
class RefusedRequest:
    """One of them; and how many came that were like it, this one included. Its representation shows no header."""

    at: float  # UNIX seconds
    peer: str
    reason: Refusal
    request: UpgradeRequest = field(repr=False)
    times: int = 1

    def explained(self, keys: Keys, called: Hints = NO_HINTS) -> dict[str, Any]:
        """As it may be shown: nothing in it lets anybody in. Takes some milliseconds, in any thread.

        :param keys: those of now.
        :param called: what Genesys Cloud may have been configured to call.
        """
        request = self.request
        known = keys.lookup(request.header("x-api-key") or "")
        secrets = None if known is None else known.secrets_at(self.at)
        hints = Hints(called.hosts[:HINTS_TAKEN], called.paths[:HINTS_TAKEN], pairs(keys, self.at))
        diagnosis = diagnose(request, secrets, self.at, hints, self.reason, known)
        return {
            "at": self.at,
            "peer": self.peer,
            "times": self.times,
            "reason": self.reason.value,
            "host": redacted(request.header("host") or "", request),
            "target": redacted(request.target, request),
            "session": redacted(request.header("audiohook-session-id") or "", request),
            "explanation": diagnosis.lines(),
        }


class RefusedRequests:
    """Keeps the last ones; of those that are alike (peer, reason, Host and target) the newest.

    So one peer that tries the same again and again does not push out the others. A request without any API key is not
    kept: there is nothing to explain.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._kept: OrderedDict[tuple[str, ...], RefusedRequest] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[RefusedRequest]:
        """The newest first. Those of now: what comes meanwhile does no harm."""
        return iter(list(reversed(self._kept.values())))

    def note(self, at: float, peer: str, reason: Refusal, request: UpgradeRequest) -> None:
        """One more, at the UNIX time `at`."""
        if not request.header("x-api-key"):
            return
        alike = (peer, reason.value, request.header("host") or "", request.target)
        before = self._kept.pop(alike, None)
        times = 1 if before is None else before.times + 1
        self._kept[alike] = RefusedRequest(at, peer, reason, request, times)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
