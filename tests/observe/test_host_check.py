"""Which requests the admin port answers: a web page that a browser shows must not read it by a name of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohookd.observe.host_check import HostCheck

CHECK = HostCheck(["metrics.example.com", ".svc.cluster.local", "Node1"])


def status(*hosts: str, version: str = "HTTP/1.1", origin: str | None = None, check: HostCheck = CHECK) -> int:
    origins = [] if origin is None else [origin.encode("latin-1")]
    fault = check.fault(version.encode(), [host.encode("latin-1") for host in hosts], origins)
    return 200 if fault is None else fault.status


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost:3001", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.0.0.1:3001",
        "127.8.9.10:80", "[::1]", "[::1]:3001", "10.0.0.5:3001", "192.0.2.1", "[2001:db8::1]:3001",
        "[fe80::1%25eth0]",
        "metrics.example.com", "METRICS.example.com:9100", "metrics.example.com.", "a.svc.cluster.local:3001",
        "a.b.svc.cluster.local", "node1", "NODE1:3001", "",
    ],
)  # fmt: skip
def test_addresses_and_configured_names_are_accepted(host: str) -> None:
    """A page at an address was served from that address: it takes a name to lead a browser elsewhere."""
    assert status(host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:3001", "localhost.evil.example", "127.0.0.1.evil.example", "evillocalhost", "x",
        "metrics.example.com.evil.example", "xmetrics.example.com", "svc.cluster.local.evil.example",
        "xsvc.cluster.local", "svc.cluster.local", "1.2.3", "0x7f.1", "evil.example:", "a-b_c.example",
    ],
)  # fmt: skip
def test_other_names_are_misdirected(host: str) -> None:
    assert status(host) == 421


@pytest.mark.parametrize(
    "host",
    ["user@localhost", "local host", "localhost:x", "localhost:3001:1", "[::1", "::1", "[localhost]", "localhost/x",
     "http://localhost", "\xe9.example", "localhost,evil.example", "localhost:999999", "a..b", "."],
)  # fmt: skip
def test_an_invalid_host_is_a_bad_request(host: str) -> None:
    assert status(host) == 400


def test_one_host_is_needed_since_http_1_1() -> None:
    assert status() == 400
    assert status("localhost", "localhost") == 400
    assert status("evil.example", "localhost", version="HTTP/1.0") == 400


def test_an_http_1_0_probe_without_a_host_is_accepted_and_one_with_a_foreign_host_is_not() -> None:
    assert status(version="HTTP/1.0") == 200
    assert status("evil.example", version="HTTP/1.0") == 421


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:3001", "http://localhost:3001"),
        ("metrics.example.com", "https://metrics.example.com"),
        ("metrics.example.com:443", "https://metrics.example.com"),
        ("127.0.0.1:80", "http://127.0.0.1"),
        ("[::1]:3001", "http://[::1]:3001"),
        ("LOCALHOST:3001", "http://localhost:3001"),
    ],
)
def test_a_request_of_the_same_origin_is_accepted(host: str, origin: str) -> None:
    assert status(host, origin=origin) == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "http://localhost", "http://localhost:3002", "https://127.0.0.1:3001",
     "http://localhost:3001.evil.example", "localhost:3001", "http://localhost:3001/x", "chrome-extension://abc"],
)  # fmt: skip
def test_a_request_of_another_origin_is_forbidden(origin: str) -> None:
    assert status("localhost:3001", origin=origin) == 403


def test_an_origin_without_a_host_is_forbidden() -> None:
    assert status(version="HTTP/1.0", origin="http://localhost") == 403
    assert CHECK.fault(b"HTTP/1.1", [b"localhost"], [b"http://localhost", b"http://evil.example"]) is not None


def test_a_rejection_names_the_host_and_the_setting() -> None:
    fault = CHECK.fault(b"HTTP/1.1", [b"evil.example:3001"], [])
    assert fault is not None
    assert "'evil.example:3001'" in fault.text
    assert "allowed_hosts in [admin]" in fault.text


@given(st.binary(max_size=300), st.lists(st.binary(max_size=300), max_size=2))
def test_any_octets_are_answered_by_one_short_printable_line(host: bytes, origins: list[bytes]) -> None:
    fault = CHECK.fault(b"HTTP/1.1", [host], origins)
    if fault is not None:
        assert fault.text.isprintable()
        assert fault.text.isascii()
        assert len(fault.text) < 1_000
