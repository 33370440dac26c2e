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

from audiohookd.server.allow import Networks, trusts
from audiohookd.server.origin import Origin, forwarded_for, origin
from audiohookd.server.rates import Bucket, Buckets, Rate

#: Addresses of which it is known how often they knocked. Those that did so longest ago are forgotten first: 3 MB.
MAX_ADDRESSES = 10_000
#: Seconds for which an address from which an authentic call came counts as known.
ACQUAINTANCE = 3_600.0
#: Seconds' worth of handshakes that may come at once, if that is more than there may be calls.
DEPTH = 10.0


class Limits(Struct, frozen=True):
    """Handshakes per second that come to nothing; 0 for no limit.

    :param at_once: as many may come at once in any case, from one address too: the calls of all agents after an
        outage are not judged yet when the last of them knocks.
    """

    per_address: float = 0.0
    total: float = 0.0
    at_once: int = 0


class Visitor(Struct, frozen=True):
    """Somebody at the door. ``refusal`` is the status that he is to be refused with, if any, and ``why`` for the log.

    ``has_paid``: his handshake was counted among those of all strangers.
    """

    origin: Origin
    refusal: HTTPStatus | None = None
    why: str = ""
    has_paid: bool = False


class Gate:
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
        limits: Limits = Limits(),  # noqa: B008 - it is frozen
        hops: int = 0,
        proxies: Networks | None = None,
    ) -> None:
        self._clock = clock
        self._count = count
        self._hops = hops
        self._proxies = proxies
        by_address = _rate(limits.per_address, max(limits.at_once, limits.per_address * DEPTH))
        total = _rate(limits.total, limits.at_once + limits.total * DEPTH)  # one address alone must not empty it
        self._by_address = None if by_address is None else Buckets(by_address, MAX_ADDRESSES)
        self._total = None if total is None else Bucket(total, clock())
        self._known: OrderedDict[Hashable, float] = OrderedDict()  # since when, the latest last
        #: Where calls may come from; None: from everywhere.
        self.allowed: Networks | None = None

    def at_connection(self, peer: str | None) -> Visitor | None:
        """A connection from ``peer``, the address as text. None: it has to be asked again when there is a request."""
        return None if self._hops else self._look_at(origin(peer))

    def at_request(self, peer: str | None, head: bytes) -> Visitor:
        """A request head, which may be a bad one."""
        hops = self._hops if trusts(self._proxies, peer) else 0
        if hops < self._hops:
            self._count("tolerated", "untrusted-proxy")
        found = origin(peer, forwarded_for(head) if hops else "", hops)
        if found.is_guess:
            self._count("tolerated", "forwarded-for")
        return self._look_at(found)

    def let_in(self, visitor: Visitor) -> None:
        """He was who he said: that was no stranger's handshake, and the next one from there is likely none either."""
        self._remember(visitor.origin.neighbourhood)
        self.give_back(visitor)

    def give_back(self, visitor: Visitor) -> None:
        """He may have been who he said: it shall not be counted."""
        if self._by_address is not None:
            self._by_address.give_back(visitor.origin.neighbourhood)
        if self._total is not None and visitor.has_paid:
            self._total.give_back()

    def _look_at(self, found: Origin) -> Visitor:
        if self.allowed is not None and found.address not in self.allowed:
            self._count("limits", "allow")
            return Visitor(found, HTTPStatus.FORBIDDEN, "not in listen.allow")
        # His own bucket first: who has emptied that takes nothing out of the one that all share.
        if self._by_address is not None and not self._by_address.take(found.neighbourhood, self._clock()):
            self._count("limits", "handshakes-per-address")
            return Visitor(found, HTTPStatus.TOO_MANY_REQUESTS, "above limits.handshakes_per_second")
        if self._total is None or self._is_known(found.neighbourhood):
            return Visitor(found)
        if not self._total.take(self._clock()):
            self._count("limits", "handshakes-total")
            return Visitor(found, HTTPStatus.TOO_MANY_REQUESTS, "above limits.handshakes_per_second_total")
        return Visitor(found, has_paid=True)

    def _is_known(self, neighbourhood: Hashable) -> bool:
        since = self._known.get(neighbourhood)
        return since is not None and self._clock() - since < ACQUAINTANCE

    def _remember(self, neighbourhood: Hashable) -> None:
        self._known[neighbourhood] = self._clock()
        self._known.move_to_end(neighbourhood)
        if len(self._known) > MAX_ADDRESSES:
            self._known.popitem(last=False)


def _rate(per_second: float, depth: float) -> Rate | None:
    return Rate(per_second, max(1.0, depth)) if per_second else None
