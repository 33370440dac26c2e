"""Two spellings of one endpoint overlap."""

import pytest

from audiohookd.config.listen_address import ListenAddress, listen_address


def overlap(one: str, other: str) -> bool:
    first, second = listen_address(one), listen_address(other)
    assert first is not None
    assert second is not None
    assert first.overlaps(second) == second.overlaps(first)
    return first.overlaps(second)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tcp:8080:interface=127.0.0.1", "tcp:8080:interface=localhost"),
        ("tcp:8080:interface=127.0.0.1", "tcp:8080"),
        ("tcp:8080", "tcp:port=8080:interface=0.0.0.0"),
        ("tcp:8080:interface=127.0.0.1:backlog=1024", "tcp:8080:127.0.0.1"),
        ("haproxy:tcp:8080", "tcp:8080:interface=10.0.0.5"),
        ("tcp:08080", "tcp:8080"),
        (r"tcp6:8080:interface=\:\:1", "tcp:8080:interface=localhost"),
        (r"tcp6:8080:interface=\:\:1", r"tcp6:8080:interface=0\:0\:0\:0\:0\:0\:0\:1"),
        ("tcp6:8080", "tcp:8080:interface=127.0.0.1"),
        ("tcp:8080:interface=Node1", "tcp:8080:interface=node1"),
        ("ssl:8080:privateKey=k", "tcp:8080"),
        ("unix:/run/a", "unix:address=/run/b/../a:mode=660"),
        ("systemd:domain=INET:index=0", "systemd:domain=INET6:index=0"),
        ("systemd:INET:0", "systemd:domain=INET:index=0"),
        ("systemd:domain=INET:name=a", "systemd:domain=INET:name=a"),
    ],
)
def test_one_address_in_two_spellings_overlaps(one: str, other: str) -> None:
    assert overlap(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tcp:8080", "tcp:8081"),
        ("tcp:0", "tcp:0"),
        ("tcp:8080:interface=127.0.0.1", "tcp:8080:interface=127.0.0.2"),
        ("tcp:8080:interface=127.0.0.1", r"tcp6:8080:interface=\:\:1"),
        ("tcp:8080:interface=127.0.0.1", "tcp:8080:interface=10.0.0.5"),
        ("unix:/run/a", "unix:/run/b"),
        ("tcp:8080", "unix:8080"),
        ("systemd:domain=INET:index=0", "systemd:domain=INET:index=1"),
        ("systemd:domain=INET:name=a", "systemd:domain=INET:name=b"),
        ("tcp", "tcp"),
    ],
)
def test_two_addresses_do_not_overlap(one: str, other: str) -> None:
    assert not overlap(one, other)


@pytest.mark.parametrize("description", ["localhost:8080", "127.0.0.1:8080", "", "onion:80"])
def test_an_unknown_type_has_no_address(description: str) -> None:
    assert listen_address(description) is None


def test_a_port_has_a_host() -> None:
    assert listen_address(r"tcp6:80:interface=\:\:1") == ListenAddress("tcp", "80", "::1")
