"""TLS without a proxy: the files it accepts, and a certificate that is renewed while connections are open."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from audiohookd.edge.tls import MAX_FILE, BadKey, Identification, read_identity, secured
from tests.certificates import write_certificate


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class Client:
    """A TLS client in memory, with Python's own ``ssl``."""

    def __init__(
        self,
        factory: Factory,
        clock: Clock,
        newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        ciphers: str | None = None,
        alpn: list[str] | None = None,
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version, context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, newest
        if ciphers is not None:
            context.set_ciphers(ciphers)
        if alpn is not None:
            context.set_alpn_protocols(alpn)
        self.clock = clock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing)
        self.transport = StringTransport()
        self.server = factory.buildProtocol(None)
        self.server.makeConnection(self.transport)

    def exchange(self) -> None:
        if self.outgoing.pending:
            self.server.dataReceived(self.outgoing.read())
        self.clock.advance(0)
        self.incoming.write(self.transport.value())
        self.transport.clear()

    def until(self, act: Callable[[], object]) -> object:
        for _ in range(10):
            try:
                return act()
            except ssl.SSLWantReadError:
                self.exchange()
        raise AssertionError("the handshake does not finish")

    def shake_hands(self) -> "Client":
        self.until(self.tls.do_handshake)
        self.exchange()
        return self

    def certificate(self) -> bytes | None:
        return self.tls.getpeercert(binary_form=True)

    def echo(self, said: bytes) -> object:
        self.tls.write(said)
        return self.until(lambda: self.tls.read(100))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def server(identification: Identification, clock: Clock) -> Any:
    return secured(Factory.forProtocol(Echo), identification, clock)


def test_a_renewed_certificate_is_used_for_new_connections(tmp_path: Path, clock: Clock) -> None:
    identification = Identification(read_identity(*write_certificate(tmp_path)))
    factory = server(identification, clock)
    old = Client(factory, clock).shake_hands()
    identification.identity = read_identity(*write_certificate(tmp_path))
    new = Client(factory, clock).shake_hands()
    assert old.certificate() != new.certificate()
    assert [client.echo(b"still here") for client in (old, new)] == [b"still here"] * 2


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_accepted(tmp_path: Path, clock: Clock, newest: ssl.TLSVersion) -> None:
    factory = server(Identification(read_identity(*write_certificate(tmp_path))), clock)
    assert Client(factory, clock, newest).shake_hands().echo(b"hello") == b"hello"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_tls_1_1_is_rejected(tmp_path: Path, clock: Clock) -> None:
    factory = server(Identification(read_identity(*write_certificate(tmp_path))), clock)
    with pytest.raises(ssl.SSLError):
        Client(factory, clock, ssl.TLSVersion.TLSv1_1).shake_hands()


@pytest.mark.parametrize("ciphers", ["AES128-GCM-SHA256", "ECDHE+AES:-ECDHE+AESGCM:-AESCCM"])
def test_a_client_without_forward_secrecy_or_authenticated_encryption_is_rejected(
    tmp_path: Path, clock: Clock, ciphers: str
) -> None:
    factory = server(Identification(read_identity(*write_certificate(tmp_path))), clock)
    with pytest.raises(ssl.SSLError):
        Client(factory, clock, ssl.TLSVersion.TLSv1_2, ciphers).shake_hands()


def test_a_client_that_offers_alpn_is_served_without_it(tmp_path: Path, clock: Clock) -> None:
    factory = server(Identification(read_identity(*write_certificate(tmp_path))), clock)
    client = Client(factory, clock, alpn=["h2", "http/1.1"]).shake_hands()
    assert client.tls.selected_alpn_protocol() is None
    assert client.echo(b"hello") == b"hello"


def test_a_certificate_with_a_chain_is_read(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    own = certificate.read_bytes()
    write_certificate(tmp_path, "authority.example.com")[1].unlink()
    chain = own + certificate.read_bytes()
    certificate, key = write_certificate(tmp_path)
    certificate.write_bytes(certificate.read_bytes() + chain)
    assert len(read_identity(certificate, key).expiry) == len("2027-01-01")


def keep_old_key(certificate: Path, key: Path) -> None:
    kept = key.read_bytes()
    write_certificate(certificate.parent)
    key.write_bytes(kept)


SPOILED = {
    "another's key": (keep_old_key, "do not match"),
    "no certificate": (lambda certificate, key: certificate.write_text("nothing"), "has no certificate in PEM"),
    "half a certificate": (
        lambda certificate, key: certificate.write_bytes(certificate.read_bytes()[:200]),
        "has no certificate in PEM",
    ),
    "no key": (lambda certificate, key: key.write_text("nothing"), "has no private key in PEM"),
    "an encrypted key": (
        lambda certificate, key: write_certificate(certificate.parent, password=b"x"),
        "is encrypted: decrypt it",
    ),
    "a key for all to read": (
        lambda certificate, key: key.chmod(0o604),
        r"tls.key': is accessible to all users \(mode 0604\): chmod o= it",
    ),
    "an endless file": (lambda certificate, key: certificate.write_bytes(b" " * (MAX_FILE + 1)), "is larger than"),
}


@pytest.mark.parametrize(("spoil", "said"), SPOILED.values(), ids=SPOILED)
def test_an_invalid_identity_is_reported_in_one_line(tmp_path: Path, spoil: Callable[..., object], said: str) -> None:
    certificate, key = write_certificate(tmp_path)
    secret = key.read_text()
    spoil(certificate, key)
    with pytest.raises(ValueError, match=said) as caught:
        read_identity(certificate, key)
    assert "\n" not in str(caught.value)
    assert secret.split("\n")[1] not in str(caught.value)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    key.unlink()
    with pytest.raises(BadKey, match=rf"'{key}': cannot be read \(No such file or directory\)"):
        read_identity(certificate, key)
    certificate.unlink()
    with pytest.raises(FileNotFoundError):
        read_identity(certificate, key)
