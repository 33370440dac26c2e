"""Who may knock, and how often."""

from http import HTTPStatus
from typing import Any

import pytest

from audiohookd.edge.handshake_limiter import BURST_SECONDS, KNOWN_CLIENT_TTL, HandshakeLimiter, HandshakeLimits
from audiohookd.edge.networks import NetworkSet
from audiohookd.observe.counters import Counters

PROXY, CALLER, STRANGER = "10.0.0.1", "192.0.2.1", "198.51.100.1"


class Rig:
    """A gate, its clock and what it counts."""

    def __init__(self, **options: Any) -> None:
        self.now = 0.0
        self.counters = Counters()
        self.gate = HandshakeLimiter(lambda: self.now, self.counters.count, **options)

    def knock(self, peer: str, times: int = 1) -> list[HTTPStatus | None]:
        visitors = [self.gate.check_connection(peer) for _ in range(times)]
        return [visitor.rejection for visitor in visitors if visitor is not None]


def head(*forwarded: str) -> bytes:
    lines = [f"X-Forwarded-For: {line}\r\n" for line in forwarded]
    return f"GET / HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


def test_without_limits_everybody_may_knock() -> None:
    assert Rig().knock(STRANGER, 1000) == [None] * 1000


def test_who_is_not_known_yet_is_not_judged_yet() -> None:
    rig = Rig(hops=1)
    rig.gate.allowed = NetworkSet(["192.0.2.0/24"])
    assert rig.gate.check_connection(PROXY) is None
    assert rig.counters.items() == []


def test_the_client_is_whom_the_trusted_proxies_name() -> None:
    visitor = Rig(hops=2).gate.check_request(PROXY, head("6.6.6.6", CALLER, "10.0.0.2"))
    assert visitor.client.name == CALLER


def test_a_request_that_came_around_the_proxies_is_that_of_its_peer_and_counted() -> None:
    rig = Rig(hops=2)
    assert rig.gate.check_request(PROXY, head(CALLER)).client.name == PROXY
    assert rig.counters.value("protocol_anomalies", "forwarded-for") == 1


class TestProxies:
    @pytest.fixture
    def rig(self) -> Rig:
        return Rig(hops=1, proxies=NetworkSet(["10.0.0.0/8", "fd00::/8"]))

    @pytest.mark.parametrize("proxy", [PROXY, "fd00::1", "::ffff:10.0.0.1"])
    def test_that_are_trusted_are_believed(self, rig: Rig, proxy: str) -> None:
        assert rig.gate.check_request(proxy, head(CALLER)).client.name == CALLER
        assert rig.counters.items() == []

    @pytest.mark.parametrize("forwarded", [(), (CALLER,), ("nonsense",)])
    def test_of_others_nothing_is_believed_and_that_is_counted(self, rig: Rig, forwarded: tuple[str, ...]) -> None:
        visitor = rig.gate.check_request(STRANGER, head(*forwarded))
        assert (visitor.client.name, visitor.rejection) == (STRANGER, None)
        assert rig.counters.items() == [("protocol_anomalies", "untrusted-proxy", 1)]

    def test_nobody_gets_past_the_list_of_networks_by_claiming_to_be_one(self, rig: Rig) -> None:
        rig.gate.allowed = NetworkSet(["192.0.2.0/24"])
        assert rig.gate.check_request(STRANGER, head(CALLER)).rejection is HTTPStatus.FORBIDDEN
        assert rig.gate.check_request(PROXY, head(CALLER)).rejection is None

    def test_are_not_those_without_an_address(self, rig: Rig) -> None:
        assert rig.gate.check_request(None, head(CALLER)).client.name == "unknown"

    def test_do_not_matter_where_no_header_is_believed(self) -> None:
        rig = Rig(proxies=NetworkSet(["10.0.0.0/8"]))
        assert rig.gate.check_request(STRANGER, head(CALLER)).client.name == STRANGER
        assert rig.counters.items() == []


class TestAllowed:
    @pytest.mark.parametrize(("peer", "status"), [(CALLER, None), (STRANGER, HTTPStatus.FORBIDDEN)])
    def test_networks_may_knock_and_no_others(self, peer: str, status: HTTPStatus | None) -> None:
        rig = Rig()
        rig.gate.allowed = NetworkSet(["192.0.2.0/24"])
        assert rig.knock(peer) == [status]
        assert rig.counters.value("limit_hits", "allowed_networks") == (status is not None)

    def test_is_nobody_whose_address_cannot_be_told(self) -> None:
        rig = Rig()
        rig.gate.allowed = NetworkSet(["0.0.0.0/0", "::/0"])
        visitor = rig.gate.check_connection(None)
        assert visitor is not None
        assert visitor.rejection is HTTPStatus.FORBIDDEN

    def test_is_not_who_only_says_so(self) -> None:
        rig = Rig(hops=1)
        rig.gate.allowed = NetworkSet(["192.0.2.0/24"])
        assert rig.gate.check_request(PROXY, head(f"{CALLER}, {STRANGER}")).rejection is HTTPStatus.FORBIDDEN

    def test_takes_no_handshake_from_others(self) -> None:
        rig = Rig(limits=HandshakeLimits(total=0.1))
        rig.gate.allowed = NetworkSet(["192.0.2.0/24"])
        rig.knock(STRANGER, 100)
        assert rig.knock(CALLER) == [None]


class TestRates:
    REFUSED = HTTPStatus.TOO_MANY_REQUESTS

    def test_one_address_does_not_use_up_those_of_others(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=1, total=100))
        assert rig.knock(STRANGER, 12) == [None] * int(BURST_SECONDS) + [self.REFUSED] * 2
        assert rig.knock(CALLER) == [None]
        assert rig.counters.value("limit_hits", "handshakes-per-address") == 2

    def test_come_back_with_time(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=1))
        rig.knock(STRANGER, 100)
        rig.now = 2.0
        assert rig.knock(STRANGER, 3) == [None, None, self.REFUSED]

    def test_many_addresses_together_have_a_limit(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=1, total=1))
        assert [rig.knock(f"198.51.100.{number}") for number in range(12)] == [[None]] * 10 + [[self.REFUSED]] * 2
        assert rig.counters.value("limit_hits", "handshakes-total") == 2

    def test_a_network_of_one_subscriber_counts_as_one(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=1))
        statuses = [rig.knock(f"2001:db8::{number:x}") for number in range(11)]
        assert statuses[-1] == [self.REFUSED]

    def test_handshakes_of_callers_do_not_count(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=1, total=1))
        for _ in range(1000):
            visitor = rig.gate.check_connection(CALLER)
            assert visitor is not None
            assert visitor.rejection is None
            rig.gate.mark_authenticated(visitor)

    def test_strangers_do_not_use_up_those_of_callers(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=0, total=1))
        caller = rig.gate.check_connection(CALLER)
        assert caller is not None
        rig.gate.mark_authenticated(caller)
        assert rig.knock(STRANGER, 100)[-1] is HTTPStatus.TOO_MANY_REQUESTS
        assert rig.knock(CALLER, 100) == [None] * 100
        rig.now = KNOWN_CLIENT_TTL
        assert rig.knock(CALLER, 100)[-1] is HTTPStatus.TOO_MANY_REQUESTS

    def test_all_of_many_callers_at_once_get_theirs_back(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=0, total=1))
        visitors = [rig.gate.check_connection(CALLER) for _ in range(10)]
        for visitor in visitors:
            assert visitor is not None
            rig.gate.mark_authenticated(visitor)
        assert rig.knock(STRANGER, 100).count(None) == BURST_SECONDS

    def test_who_is_known_has_a_limit_of_his_own_all_the_same(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=1, total=1))
        caller = rig.gate.check_connection(CALLER)
        assert caller is not None
        rig.gate.mark_authenticated(caller)
        assert rig.knock(CALLER, 100).count(None) == BURST_SECONDS

    def test_as_many_as_there_may_be_calls_may_knock_at_once(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=1, total=2, burst=50))
        assert rig.knock(CALLER, 51) == [None] * 50 + [self.REFUSED]
        rig.now = 3.0
        assert rig.knock(CALLER, 4) == [None] * 3 + [self.REFUSED]

    def test_one_address_alone_does_not_use_up_those_of_all(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=1, total=1, burst=50))
        assert rig.knock(STRANGER, 100).count(None) == 50
        assert rig.knock(CALLER, 5) == [None] * 5

    def test_who_may_have_been_a_caller_gets_his_back_and_is_not_known(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=0, total=1))
        for _ in range(100):
            visitor = rig.gate.check_connection(CALLER)
            assert visitor is not None
            assert visitor.rejection is None
            rig.gate.refund(visitor)
        assert rig.knock(CALLER, 100).count(None) == BURST_SECONDS

    def test_of_few_calls_there_may_be_strangers_all_the_same(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=1, total=1, burst=2))
        assert rig.knock(STRANGER, 12).count(None) == BURST_SECONDS

    def test_less_than_one_in_ten_seconds_is_still_one(self) -> None:
        assert Rig(limits=HandshakeLimits(per_address=0.01)).knock(STRANGER, 2) == [None, self.REFUSED]
