"""Limits handshakes by client address: an allow list, a rate limit per address, and a rate limit for all addresses.

The limits apply as soon as the client's address is known: when the connection is made, when the PROXY header has been
read, or, if ``X-Forwarded-For`` names the client, when the request has been read.

Every handshake takes a token from the bucket of its address and one from the total bucket. Both are refunded when the
request authenticates. Genesys Cloud calls from few addresses and does not retry a failed upgrade, so its own calls
must not reach a limit. An address with a recent authenticated call takes nothing from the total bucket: a flood from
other clients cannot lock it out.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from http import HTTPStatus

from msgspec import Struct

from audiohookd.edge.client_address import ClientAddress, client_address, join_forwarded_for
from audiohookd.edge.networks import NetworkSet, trusts
from audiohookd.runtime.token_bucket import KeyedTokenBuckets, Rate, TokenBucket

#: Addresses that the rate limit tracks, about 3 MB. Beyond that, the least recent address is evicted.
MAX_ADDRESSES = 10_000
#: Seconds for which an address counts as known after an authenticated call.
KNOWN_CLIENT_TTL = 3_600.0
#: Depth of a bucket, in seconds of its rate. The limit on calls is the depth where that is more.
BURST_SECONDS = 10.0


class HandshakeLimits(Struct, frozen=True):
    """How many handshakes per second may fail; 0 for no limit.

    :param burst: this many handshakes may always come at once, even from one address. After an outage the calls of
        all agents connect together, and none is refunded before it authenticates.
    """

    per_address: float = 0.0
    total: float = 0.0
    burst: int = 0


class HandshakeAttempt(Struct, frozen=True):
    """A handshake, and whether the limits reject it.

    :param rejection: the status to reject it with; None if it is within the limits.
    :param reason: the reason of the rejection, for the log.
    :param charged_total: whether it took a token from the total bucket.
    """

    client: ClientAddress
    rejection: HTTPStatus | None = None
    reason: str = ""
    charged_total: bool = False


class HandshakeLimiter:
    """Applies the allow list and the rate limits to the handshakes of one listening port.

    :param clock: monotonic seconds, from any origin.
    :param count: counts by name and label.
    :param hops: the number of proxies to trust in ``X-Forwarded-For``.
    :param proxies: the networks of the nearest proxy; None: any peer is trusted as a proxy.
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
        # Deeper than the bucket of an address, so that one address cannot empty it.
        total = _rate(limits.total, limits.burst + limits.total * BURST_SECONDS)
        self._by_address = None if by_address is None else KeyedTokenBuckets(by_address, MAX_ADDRESSES)
        self._total = None if total is None else TokenBucket(total, clock())
        self._known: OrderedDict[Hashable, float] = OrderedDict()  # since when; the latest is last
        #: The networks that may connect; None: all of them.
        self.allowed: NetworkSet | None = None

    def check_connection(self, peer: str | None) -> HandshakeAttempt | None:
        """Checks a new connection from ``peer``, an address as text. None: :meth:`check_request` decides."""
        return None if self._hops else self._check(client_address(peer))

    def check_request(self, peer: str | None, head: bytes) -> HandshakeAttempt:
        """Checks a request. Its head determines the client's address, and may be malformed."""
        hops = self._hops if trusts(self._proxies, peer) else 0
        if hops < self._hops:
            self._count("protocol_anomalies", "untrusted-proxy")
        client = client_address(peer, join_forwarded_for(head) if hops else "", hops)
        if client.is_fallback:
            self._count("protocol_anomalies", "forwarded-for")
        return self._check(client)

    def mark_authenticated(self, attempt: HandshakeAttempt) -> None:
        """The request authenticated: refunds its tokens and remembers the address."""
        self._remember(attempt.client.rate_limit_key)
        self.refund(attempt)

    def refund(self, attempt: HandshakeAttempt) -> None:
        """Puts the tokens of a handshake back: it may have been authentic."""
        if self._by_address is not None:
            self._by_address.refund(attempt.client.rate_limit_key)
        if self._total is not None and attempt.charged_total:
            self._total.refund()

    def _check(self, client: ClientAddress) -> HandshakeAttempt:
        if self.allowed is not None and client.address not in self.allowed:
            self._count("limit_hits", "allowed_networks")
            return HandshakeAttempt(client, HTTPStatus.FORBIDDEN, "not in listen.allowed_networks")
        # The bucket of the address comes first: a client that has emptied it takes nothing from the total bucket.
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
