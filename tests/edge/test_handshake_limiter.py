"""The allow list and the rate limits of handshakes."""

from http import HTTPStatus
from typing import Any

import pytest

from audiohookd.edge.handshake_limiter import BURST_SECONDS, KNOWN_CLIENT_TTL, HandshakeLimiter, HandshakeLimits
from audiohookd.edge.networks import NetworkSet
from audiohookd.observe.counters import Counters

PROXY, CALLER, STRANGER = "10.0.0.1", "192.0.2.1", "198.51.100.1"


class Rig:
    """A limiter with its clock and counters."""

    def __init__(self, **options: Any) -> None:
        self.now = 0.0
        self.counters = Counters()
        self.limiter = HandshakeLimiter(lambda: self.now, self.counters.count, **options)

    def connect(self, peer: str, times: int = 1) -> list[HTTPStatus | None]:
        attempts = [self.limiter.check_connection(peer) for _ in range(times)]
        return [attempt.rejection for attempt in attempts if attempt is not None]


def head(*forwarded: str) -> bytes:
    lines = [f"X-Forwarded-For: {line}\r\n" for line in forwarded]
    return f"GET / HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


def test_no_limits_accept_every_handshake() -> None:
    assert Rig().connect(STRANGER, 1000) == [None] * 1000


def test_a_client_behind_a_proxy_is_checked_with_its_request() -> None:
    rig = Rig(hops=1)
    rig.limiter.allowed = NetworkSet(["192.0.2.0/24"])
    assert rig.limiter.check_connection(PROXY) is None
    assert rig.counters.items() == []


def test_trusted_proxies_name_the_client() -> None:
    attempt = Rig(hops=2).limiter.check_request(PROXY, head("6.6.6.6", CALLER, "10.0.0.2"))
    assert attempt.client.name == CALLER


def test_a_request_that_bypasses_a_proxy_has_the_address_of_its_peer() -> None:
    rig = Rig(hops=2)
    assert rig.limiter.check_request(PROXY, head(CALLER)).client.name == PROXY
    assert rig.counters.value("protocol_anomalies", "forwarded-for") == 1


class TestProxies:
    @pytest.fixture
    def rig(self) -> Rig:
        return Rig(hops=1, proxies=NetworkSet(["10.0.0.0/8", "fd00::/8"]))

    @pytest.mark.parametrize("proxy", [PROXY, "fd00::1", "::ffff:10.0.0.1"])
    def test_trusted_proxy_names_the_client(self, rig: Rig, proxy: str) -> None:
        assert rig.limiter.check_request(proxy, head(CALLER)).client.name == CALLER
        assert rig.counters.items() == []

    @pytest.mark.parametrize("forwarded", [(), (CALLER,), ("nonsense",)])
    def test_header_of_an_untrusted_peer_is_ignored_and_counted(self, rig: Rig, forwarded: tuple[str, ...]) -> None:
        attempt = rig.limiter.check_request(STRANGER, head(*forwarded))
        assert (attempt.client.name, attempt.rejection) == (STRANGER, None)
        assert rig.counters.items() == [("protocol_anomalies", "untrusted-proxy", 1)]

    def test_untrusted_peer_cannot_bypass_the_allow_list(self, rig: Rig) -> None:
        rig.limiter.allowed = NetworkSet(["192.0.2.0/24"])
        assert rig.limiter.check_request(STRANGER, head(CALLER)).rejection is HTTPStatus.FORBIDDEN
        assert rig.limiter.check_request(PROXY, head(CALLER)).rejection is None

    def test_peer_without_an_address_is_not_trusted(self, rig: Rig) -> None:
        assert rig.limiter.check_request(None, head(CALLER)).client.name == "unknown"

    def test_proxies_have_no_effect_without_hops(self) -> None:
        rig = Rig(proxies=NetworkSet(["10.0.0.0/8"]))
        assert rig.limiter.check_request(STRANGER, head(CALLER)).client.name == STRANGER
        assert rig.counters.items() == []


class TestAllowed:
    @pytest.mark.parametrize(("peer", "status"), [(CALLER, None), (STRANGER, HTTPStatus.FORBIDDEN)])
    def test_only_allowed_networks_are_accepted(self, peer: str, status: HTTPStatus | None) -> None:
        rig = Rig()
        rig.limiter.allowed = NetworkSet(["192.0.2.0/24"])
        assert rig.connect(peer) == [status]
        assert rig.counters.value("limit_hits", "allowed_networks") == (status is not None)

    def test_unknown_address_is_rejected(self) -> None:
        rig = Rig()
        rig.limiter.allowed = NetworkSet(["0.0.0.0/0", "::/0"])
        attempt = rig.limiter.check_connection(None)
        assert attempt is not None
        assert attempt.rejection is HTTPStatus.FORBIDDEN

    def test_spoofed_entry_is_rejected(self) -> None:
        rig = Rig(hops=1)
        rig.limiter.allowed = NetworkSet(["192.0.2.0/24"])
        assert rig.limiter.check_request(PROXY, head(f"{CALLER}, {STRANGER}")).rejection is HTTPStatus.FORBIDDEN

    def test_rejected_address_takes_no_token(self) -> None:
        rig = Rig(limits=HandshakeLimits(total=0.1))
        rig.limiter.allowed = NetworkSet(["192.0.2.0/24"])
        rig.connect(STRANGER, 100)
        assert rig.connect(CALLER) == [None]


class TestRates:
    REJECTED = HTTPStatus.TOO_MANY_REQUESTS

    def test_one_address_takes_no_tokens_of_others(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=1, total=100))
        assert rig.connect(STRANGER, 12) == [None] * int(BURST_SECONDS) + [self.REJECTED] * 2
        assert rig.connect(CALLER) == [None]
        assert rig.counters.value("limit_hits", "handshakes-per-address") == 2

    def test_tokens_refill_with_time(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=1))
        rig.connect(STRANGER, 100)
        rig.now = 2.0
        assert rig.connect(STRANGER, 3) == [None, None, self.REJECTED]

    def test_many_addresses_share_a_total_limit(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=1, total=1))
        assert [rig.connect(f"198.51.100.{number}") for number in range(12)] == [[None]] * 10 + [[self.REJECTED]] * 2
        assert rig.counters.value("limit_hits", "handshakes-total") == 2

    def test_an_ipv6_subscriber_shares_one_bucket(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=1))
        statuses = [rig.connect(f"2001:db8::{number:x}") for number in range(11)]
        assert statuses[-1] == [self.REJECTED]

    def test_authenticated_handshakes_are_refunded(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=1, total=1))
        for _ in range(1000):
            attempt = rig.limiter.check_connection(CALLER)
            assert attempt is not None
            assert attempt.rejection is None
            rig.limiter.mark_authenticated(attempt)

    def test_known_client_is_accepted_when_the_total_is_used_up(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=0, total=1))
        caller = rig.limiter.check_connection(CALLER)
        assert caller is not None
        rig.limiter.mark_authenticated(caller)
        assert rig.connect(STRANGER, 100)[-1] is HTTPStatus.TOO_MANY_REQUESTS
        assert rig.connect(CALLER, 100) == [None] * 100
        rig.now = KNOWN_CLIENT_TTL
        assert rig.connect(CALLER, 100)[-1] is HTTPStatus.TOO_MANY_REQUESTS

    def test_concurrent_authenticated_handshakes_are_all_refunded(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=0, total=1))
        attempts = [rig.limiter.check_connection(CALLER) for _ in range(10)]
        for attempt in attempts:
            assert attempt is not None
            rig.limiter.mark_authenticated(attempt)
        assert rig.connect(STRANGER, 100).count(None) == BURST_SECONDS

    def test_known_client_keeps_its_own_limit(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=1, total=1))
        caller = rig.limiter.check_connection(CALLER)
        assert caller is not None
        rig.limiter.mark_authenticated(caller)
        assert rig.connect(CALLER, 100).count(None) == BURST_SECONDS

    def test_burst_is_accepted_at_once(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=1, total=2, burst=50))
        assert rig.connect(CALLER, 51) == [None] * 50 + [self.REJECTED]
        rig.now = 3.0
        assert rig.connect(CALLER, 4) == [None] * 3 + [self.REJECTED]

    def test_one_address_does_not_use_up_the_total(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=1, total=1, burst=50))
        assert rig.connect(STRANGER, 100).count(None) == 50
        assert rig.connect(CALLER, 5) == [None] * 5

    def test_refund_does_not_make_the_client_known(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=0, total=1))
        for _ in range(100):
            attempt = rig.limiter.check_connection(CALLER)
            assert attempt is not None
            assert attempt.rejection is None
            rig.limiter.refund(attempt)
        assert rig.connect(CALLER, 100).count(None) == BURST_SECONDS

    def test_small_burst_does_not_reduce_the_depth(self) -> None:
        rig = Rig(limits=HandshakeLimits(per_address=1, total=1, burst=2))
        assert rig.connect(STRANGER, 12).count(None) == BURST_SECONDS

    def test_slow_rate_accepts_one_handshake(self) -> None:
        assert Rig(limits=HandshakeLimits(per_address=0.01)).connect(STRANGER, 2) == [None, self.REJECTED]
