"""Keeps the last rejected requests, in memory, with a bound."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from audiohookd.auth.keys.model import Keys
from audiohookd.auth.rejection import RejectionReason
from audiohookd.auth.request import UpgradeRequest
from audiohookd.diagnostics.explain import NO_HINTS, diagnose
from audiohookd.diagnostics.hypotheses import Hints
from audiohookd.diagnostics.redaction import redacted

#: Most requests that are kept: two megabytes at worst, since a head is limited to 16 KiB.
LIMIT = 50


@dataclass(frozen=True, eq=False, slots=True)
class RejectedRequest:
    """A rejected request, and how many similar ones came, including this one. The representation shows no header."""

    at: float  # UNIX seconds
    peer: str
    reason: RejectionReason
    request: UpgradeRequest = field(repr=False)
    times: int = 1

    def explained(self, keys: Keys, hints: Hints = NO_HINTS) -> dict[str, Any]:
        """Returns the request with its diagnosis, without anything that grants access.

        Takes some milliseconds, in any thread.

        :param keys: the current keys.
        """
        request = self.request
        diagnosis = diagnose(request, keys, self.at, hints, self.reason)
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


class RecentRejections:
    """Keeps the last rejected requests. Of similar ones (same peer, reason, Host and target) it keeps the newest.

    So one peer that repeats a request does not evict all others. A request without an API key is not kept, because
    there is nothing to explain.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._kept: OrderedDict[tuple[str, ...], RejectedRequest] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[RejectedRequest]:
        """Iterates over a copy, newest first, so requests may be added during the iteration."""
        return iter(list(reversed(self._kept.values())))

    def note(self, at: float, peer: str, reason: RejectionReason, request: UpgradeRequest) -> None:
        """Adds a request that was rejected at the UNIX time ``at``."""
        if not request.header("x-api-key"):
            return
        key = (peer, reason.value, request.header("host") or "", request.target)
        before = self._kept.pop(key, None)
        times = 1 if before is None else before.times + 1
        self._kept[key] = RejectedRequest(at, peer, reason, request, times)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
