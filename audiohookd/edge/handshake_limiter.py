"""Who may knock: by address, and how often. Asked as early as the client's address can be known.

That is when the connection is made (behind the PROXY protocol: when its header is there), unless a proxy tells the
address in the request.
Handshakes are counted by who pays for them. A stranger's costs us an answer; one that turns out to be authentic is
given back, so Genesys Cloud, which calls from few addresses and does not try again after a failed upgrade, never runs
into a limit by calls of its own; nor, by strangers, into the one for all together: who has made an authentic call
lately does not share it with them.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from http import HTTPStatus

from msgspec import Struct

from audiohookd.edge.client_address import ClientAddress, client_address, join_forwarded_for
from audiohookd.edge.networks import NetworkSet, trusts
from audiohookd.runtime.token_bucket import KeyedTokenBuckets, Rate, TokenBucket

#: Addresses of which it is known how often they knocked. Those that did so longest ago are forgotten first: 3 MB.
MAX_ADDRESSES = 10_000
#: Seconds for which an address from which an authentic call came counts as known.
KNOWN_CLIENT_TTL = 3_600.0
#: Seconds' worth of handshakes that may come at once, if that is more than there may be calls.
BURST_SECONDS = 10.0


class HandshakeLimits(Struct, frozen=True):
    """Handshakes per second that come to nothing; 0 for no limit.

    :param at_once: as many may come at once in any case, from one address too: the calls of all agents after an
        outage are not judged yet when the last of them knocks.
    """

    per_address: float = 0.0
    total: float = 0.0
    burst: int = 0


class HandshakeAttempt(Struct, frozen=True):
    """Somebody at the door. ``refusal`` is the status that he is to be refused with, if any, and ``why`` for the log.

    ``has_paid``: his handshake was counted among those of all strangers.
    """

    client: ClientAddress
    rejection: HTTPStatus | None = None
    reason: str = ""
    charged_total: bool = False


class HandshakeLimiter:
    """The policy of one listening port.

    :param clock: seconds, from any origin, never going back.
    :param count: counts by name and label.
    :param hops: proxies whose ``X-Forwarded-For`` is believed.
    :param proxies: where the nearest of them is; None: wherever it likes.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        count: Callable[..., object],
        limits: HandshakeLimits = HandshakeLimits(),  # noqa: B008 - it is frozen
        hops: int = 0,
        proxies: NetworkSet | None = None,
    ) -> None:
        self._clock = clock
        self._count = count
        self._hops = hops
        self._proxies = proxies
        by_address = _rate(limits.per_address, max(limits.burst, limits.per_address * BURST_SECONDS))
        total = _rate(
            limits.total, limits.burst + limits.total * BURST_SECONDS
        )  # one address alone must not empty it
        self._by_address = None if by_address is None else KeyedTokenBuckets(by_address, MAX_ADDRESSES)
        self._total = None if total is None else TokenBucket(total, clock())
        self._known: OrderedDict[Hashable, float] = OrderedDict()  # since when, the latest last
        #: Where calls may come from; None: from everywhere.
        self.allowed: NetworkSet | None = None

    def check_connection(self, peer: str | None) -> HandshakeAttempt | None:
        """A connection from ``peer``, the address as text. None: it has to be asked again when there is a request."""
        return None if self._hops else self._check(client_address(peer))

    def check_request(self, peer: str | None, head: bytes) -> HandshakeAttempt:
        """A request head, which may be a bad one."""
        hops = self._hops if trusts(self._proxies, peer) else 0
        if hops < self._hops:
            self._count("protocol_anomalies", "untrusted-proxy")
        client = client_address(peer, join_forwarded_for(head) if hops else "", hops)
        if client.is_fallback:
            self._count("protocol_anomalies", "forwarded-for")
        return self._check(client)

    def mark_authenticated(self, attempt: HandshakeAttempt) -> None:
        """He was who he said: that was no stranger's handshake, and the next one from there is likely none either."""
        self._remember(attempt.client.rate_limit_key)
        self.refund(attempt)

    def refund(self, attempt: HandshakeAttempt) -> None:
        """He may have been who he said: it shall not be counted."""
        if self._by_address is not None:
            self._by_address.refund(attempt.client.rate_limit_key)
        if self._total is not None and attempt.charged_total:
            self._total.refund()

    def _check(self, client: ClientAddress) -> HandshakeAttempt:
        if self.allowed is not None and client.address not in self.allowed:
            self._count("limit_hits", "allowed_networks")
            return HandshakeAttempt(client, HTTPStatus.FORBIDDEN, "not in listen.allowed_networks")
        # His own bucket first: who has emptied that takes nothing out of the one that all share.
        if self._by_address is not None and not self._by_address.take(client.rate_limit_key, self._clock()):
            self._count("limit_hits", "handshakes-per-address")
            return HandshakeAttempt(client, HTTPStatus.TOO_MANY_REQUESTS, "above limits.handshakes_per_second")
        if self._total is None or self._is_known(client.rate_limit_key):
            return HandshakeAttempt(client)
        if not self._total.take(self._clock()):
            self._count("limit_hits", "handshakes-total")
            return HandshakeAttempt(client, HTTPStatus.TOO_MANY_REQUESTS, "above limits.handshakes_per_second_total")
        return HandshakeAttempt(client, charged_total=True)

    def _is_known(self, rate_limit_key: Hashable) -> bool:
        since = self._known.get(rate_limit_key)
        return since is not None and self._clock() - since < KNOWN_CLIENT_TTL

    def _remember(self, rate_limit_key: Hashable) -> None:
        self._known[rate_limit_key] = self._clock()
        self._known.move_to_end(rate_limit_key)
        if len(self._known) > MAX_ADDRESSES:
            self._known.popitem(last=False)


def _rate(per_second: float, depth: float) -> Rate | None:
    return Rate(per_second, max(1.0, depth)) if per_second else None
