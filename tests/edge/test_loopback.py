"""The endpoints that only this machine can reach."""

import pytest

from audiohookd.config.schema import Listen
from audiohookd.edge.loopback import is_loopback_endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        Listen().endpoint,
        "tcp:3000:interface=127.8.9.10",
        "tcp:3000:50:interface=localhost",
        "tcp:3000:127.0.0.1",
        r"tcp6:3000:interface=\:\:1",
        "unix:/run/audiohookd.sock",
        "unix:/run/audiohookd.sock:mode=660",
        "systemd:domain=UNIX:index=0",
        "haproxy:tcp:3000:interface=127.0.0.1",
        "HAProxy:unix:/run/audiohookd.sock",
        "haproxy:unix:/run/audiohookd.sock",
    ],
)
def test_a_loopback_address_or_a_unix_socket_is_loopback(endpoint: str) -> None:
    assert is_loopback_endpoint(endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp:3000",
        "tcp:3000:interface=0.0.0.0",
        "tcp:3000:interface=10.0.0.5",
        "tcp:3000:interface=",
        "tcp:127",
        "tcp6:3000",
        r"tcp6:3000:interface=\:\:",
        r"tcp6:3000:interface=2001\:db8\:\:1",
        "systemd:domain=INET:index=0",
        "haproxy:tcp:3000",
    ],
)
def test_other_endpoints_are_not_loopback(endpoint: str) -> None:
    assert not is_loopback_endpoint(endpoint)
