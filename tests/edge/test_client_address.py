"""The address of a client: that of the peer, or the one that trusted proxies name."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.edge.client_address import client_address, join_forwarded_for, parse_address

PROXY = "10.0.0.1"
ADDRESSES = st.ip_addresses()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:443", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_an_address_is_parsed_as_proxies_write_it(text: str, address: str) -> None:
    assert parse_address(text) == ip_address(address)


@pytest.mark.parametrize(
    "text", ["", "unknown", "_hidden", "192.0.2", "192.0.2.256", "1.2.3.4:", "1.2.3.4 ", "[1:2", "12345::", "١.2.3.4"]
)
def test_other_text_is_not_an_address(text: str) -> None:
    assert parse_address(text) is None


@given(st.text())
def test_no_text_raises_an_error(text: str) -> None:
    client_address(text, text, 1)
    parse_address(text)


@given(st.lists(ADDRESSES, max_size=4), st.lists(ADDRESSES, min_size=1, max_size=4))
def test_entries_of_the_client_do_not_change_the_address(invented: list[str], named: list[str]) -> None:
    """The proxies append their entries. The first of them is the client."""
    line = ", ".join(str(address) for address in [*invented, *named])
    found = client_address(PROXY, line, hops=len(named))
    assert (found.address, found.is_fallback) == (parse_address(str(named[0])), False)


@pytest.mark.parametrize("forwarded", ["", "192.0.2.1", "nobody, 192.0.2.1", ",", "192.0.2.999, 192.0.2.1"])
def test_the_nearest_proxy_is_the_fallback_without_a_client(forwarded: str) -> None:
    found = client_address(PROXY, forwarded, hops=2)
    assert (found.name, found.is_fallback) == (PROXY, True)


def test_forwarded_for_is_ignored_without_trusted_proxies() -> None:
    found = client_address(PROXY, "192.0.2.1", hops=0)
    assert (found.name, found.is_fallback) == (PROXY, False)


@pytest.mark.parametrize("peer", [None, "", "\x1b[31m"])
def test_an_invalid_address_is_shown_as_unknown(peer: str | None) -> None:
    assert client_address(peer).name == "unknown"


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_an_ipv6_subscriber_has_one_rate_limit_key(network: int, one: int, other: int) -> None:
    both = [client_address(f"[{IPv6Address(network << 64 | host)}]") for host in (one, other)]
    if all(isinstance(found.address, IPv6Address) for found in both):
        assert both[0].rate_limit_key == both[1].rate_limit_key
    assert client_address("[2001:db8::1]").rate_limit_key != client_address("[2001:db8:0:1::1]").rate_limit_key


@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_each_ipv4_address_has_its_own_rate_limit_key(one: IPv4Address, other: IPv4Address) -> None:
    assert (client_address(str(one)).rate_limit_key == client_address(str(other)).rate_limit_key) == (one == other)


def test_join_forwarded_for_reads_all_lines_of_the_head_only() -> None:
    head = b"GET / HTTP/1.1\r\nX-Forwarded-For: a, b\r\nX-Not-X-Forwarded-For: n\r\nx-FORWARDED-for:c \r\n\r\n"
    assert join_forwarded_for(head + b"\r\nX-Forwarded-For: after") == " a, b,c "
    assert join_forwarded_for(b"GET / HTTP/1.1\r\n\r\n") == ""
