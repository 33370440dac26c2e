"""Handshake limits, allow list and TLS, as configured."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory

from audiohookd import edge
from audiohookd.config.errors import ConfigError
from audiohookd.edge.proxy_protocol import ProxyProtocolFactory
from audiohookd.websocket.protocol import PENDING_LIMIT, AudioHookServerFactory
from tests.certificates import write_certificate
from tests.tap_rig import CORE_ABOVE, PLAIN, Reactor, build, names, writer


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    return writer(tmp_path)


def served(path: Path) -> object:
    """The protocol factory of the port for calls."""
    reactor = Reactor()
    build(path, reactor).startService()
    return reactor.ports[-1].factory


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        build(path)
    return str(caught.value).removeprefix(f"{path}: ").replace(str(path.parent), "/etc")


def test_the_limits_of_the_file_are_in_force(write: Callable[..., Path]) -> None:
    limits = "[limits]\nhandshake_timeout = 7\nframes_per_second = 0\nhandshakes_per_second = 1\n"
    factory = served(write(PLAIN + '[listen]\nmax_sessions = 10\nallowed_networks = ["192.0.2.0/24"]\n' + limits))
    assert isinstance(factory, AudioHookServerFactory)
    assert factory.handshake_timeout == 7
    assert factory.receive_limits.frames is None
    assert factory.receive_limits.messages is not None
    refusals = [factory.limiter.check_connection("192.0.2.1").rejection for _ in range(11)]
    assert [int(refusal or 0) for refusal in refusals] == [0] * 10 + [429]
    assert factory.limiter.check_connection("198.51.100.1").rejection == 403


class Comer:
    """A client that has connected, but sent nothing."""

    def __init__(self) -> None:
        self.transport = StringTransport()


def test_all_calls_may_come_at_once_and_wait_for_their_upgrade(write: Callable[..., Path]) -> None:
    """After an outage all calls come from one address: none is rejected or evicted, even with some other clients."""
    limits = "[limits]\nhandshakes_per_second = 1\nhandshakes_per_second_total = 1\n"
    factory = served(write(PLAIN + "[listen]\nmax_sessions = 1500\n" + limits))
    assert isinstance(factory, AudioHookServerFactory)
    callers = [factory.limiter.check_connection("192.0.2.1") for _ in range(1500)]
    assert {caller.rejection for caller in callers if caller is not None} == {None}
    comers = [Comer() for _ in range(1500 + PENDING_LIMIT + 1)]
    for comer in comers[:-1]:
        factory.pending.add(comer)
    assert not any(comer.transport.disconnecting for comer in comers)
    factory.pending.add(comers[-1])
    assert [comer.transport.disconnecting for comer in comers[:2]] == [True, False]


def test_files_are_watched_before_the_port_opens(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "allow").write_text("192.0.2.0/24")
    write_certificate(tmp_path)
    files = '[listen]\nallowed_networks_file = "allow"\ntls_certificate = "tls.pem"\ntls_key = "tls.key"\n'
    children = names(build(write(PLAIN + files)))
    start = children.index("file-watcher")
    assert children[start : start + 4] == ["file-watcher", "allowed_networks_file", "tls_certificate", "listener"]
    assert [name for name in children[start + 3 :] if name in CORE_ABOVE] == children[start + 3 :]


def test_without_an_allow_list_every_client_is_accepted(write: Callable[..., Path]) -> None:
    factory = served(write())
    assert isinstance(factory, AudioHookServerFactory)
    assert factory.limiter.allowed is None


@pytest.mark.parametrize("prefix", ["haproxy", "HAProxy"])
def test_the_proxy_protocol_header_precedes_tls(write: Callable[..., Path], tmp_path: Path, prefix: str) -> None:
    write_certificate(tmp_path)
    listen = f'[listen]\nendpoint = "{prefix}:tcp:3100:interface=127.0.0.1"\n'
    reactor = Reactor()
    build(write(PLAIN + listen + 'tls_certificate = "tls.pem"\ntls_key = "tls.key"\n'), reactor).startService()
    assert reactor.listening[-1] == ("127.0.0.1", 3100)
    factory = reactor.ports[-1].factory
    assert isinstance(factory, ProxyProtocolFactory)
    assert isinstance(factory.wrappedFactory, TLSMemoryBIOFactory)
    assert isinstance(factory.wrappedFactory.wrappedFactory, AudioHookServerFactory)
    assert factory.pending is factory.wrappedFactory.wrappedFactory.pending


def test_only_named_proxies_are_trusted(write: Callable[..., Path]) -> None:
    factory = served(write(PLAIN + '[listen]\ntrusted_hops = 1\ntrusted_proxies = ["10.0.0.0/8"]\n'))
    assert isinstance(factory, AudioHookServerFactory)
    head = b"GET / HTTP/1.1\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
    found = [factory.limiter.check_request(peer, head).client.name for peer in ("10.0.0.1", "198.51.100.1")]
    assert found == ["192.0.2.1", "198.51.100.1"]


MISTAKES = {
    'endpoint = "haproxy:foo:3000"': "listen.endpoint: 'haproxy:foo:3000': unknown type 'foo'; it must be like",
    'endpoint = "haproxy:"': "listen.endpoint: 'haproxy:': unknown type ''; it must be like 'tcp:3000:",
    'allowed_networks = ["192.0.2.1/24"]': (
        "listen.allowed_networks[0]: '192.0.2.1/24' is not a network such as '192.0.2.0/24', did you mean '192.0.2.0"
    ),
    'trusted_proxies = ["10.0.0.0/8", "proxy.example"]': (
        "listen.trusted_proxies[1]: 'proxy.example' is not a network such as '192.0.2.0/24'"
    ),
    'trusted_proxies = ["10.0.0.0/8"]': "listen.trusted_proxies: has no effect without listen.trusted_hops",
    'allowed_networks_file = "missing"': "listen.allowed_networks_file: /etc/missing: No such file or directory",
    'allowed_networks_file = "keys.json"': "listen.allowed_networks_file: line 1: ",
    'tls_certificate = "tls.pem"\ntls_key = "missing"': "listen.tls_key: '/etc/missing': cannot be read (No such",
    'tls_certificate = "missing"\ntls_key = "tls.key"': "listen.tls_certificate: /etc/missing: No such file",
    'tls_certificate = "tls.pem"\ntls_key = "other.key"': (
        "listen.tls_key: /etc/other.key and /etc/tls.pem do not match"
    ),
    'tls_certificate = "tls.pem"\ntls_key = "tls.pem"': "listen.tls_key: '/etc/tls.pem': is accessible to all users",
    'tls_certificate = "keys.json"\ntls_key = "tls.key"': (
        "listen.tls_certificate: /etc/keys.json has no certificate in PEM"
    ),
}


@pytest.mark.parametrize(("listen", "said"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_is_one_line(write: Callable[..., Path], tmp_path: Path, listen: str, said: str) -> None:
    write_certificate(tmp_path)
    (tmp_path / "tls.key").rename(tmp_path / "other.key")
    write_certificate(tmp_path)
    (tmp_path / "tls.pem").chmod(0o644)
    assert refused(write(PLAIN + f"[listen]\n{listen}\n")).startswith(said)


def test_tls_is_both_files_or_none(write: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match=r"listen\.tls_(key|certificate): is missing"):
        build(write(PLAIN + '[listen]\ntls_key = "tls.key"\n'))


def test_without_pyopenssl_it_says_what_to_install(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_certificate(tmp_path)
    monkeypatch.delitem(sys.modules, "audiohookd.edge.tls", raising=False)
    monkeypatch.delattr(edge, "tls", raising=False)
    monkeypatch.setitem(sys.modules, "OpenSSL", None)
    said = refused(write(PLAIN + '[listen]\ntls_certificate = "tls.pem"\ntls_key = "tls.key"\n'))
    assert said == "listen.tls_certificate: needs pyOpenSSL: pip install 'audiohookd[tls]'"
