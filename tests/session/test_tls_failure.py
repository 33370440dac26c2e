"""Descriptions of TLS failures use only the reasons of the installed OpenSSL."""

import ssl

import pytest
from OpenSSL import SSL

from audiohookd.edge.tls import server_context
from audiohookd.session.connection_end import failure_of_tls


def failed(sent: bytes) -> BaseException:
    """What a server makes of it."""
    connection = SSL.Connection(server_context(), None)
    connection.set_accept_state()
    connection.bio_write(sent)
    with pytest.raises(SSL.Error) as caught:
        connection.do_handshake()
    return caught.value


def hello(newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = newest
    sent = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent).do_handshake()
    return sent.read()


def test_a_peer_without_tls_is_described() -> None:
    assert failure_of_tls(failed(b"GET / HTTP/1.1\r\n")) == "TLS failed (http request)"


def test_a_peer_without_a_common_cipher_is_described() -> None:
    """A server without a certificate has none."""
    assert failure_of_tls(failed(hello())) == "TLS failed (no shared cipher)"


@pytest.mark.parametrize("version", ["sslv3", "tlsv1", "ssl/tls"])
def test_a_peer_that_distrusts_the_certificate_is_described(version: str) -> None:
    fault = SSL.Error([("SSL routines", "", f"{version} alert unknown ca")])
    assert failure_of_tls(fault) == "TLS failed (alert from the client: unknown ca)"


@pytest.mark.parametrize(
    "fault",
    [
        SSL.Error(),
        SSL.Error([]),
        SSL.Error([("SSL routines", "", "tlsv1 alert whatever")]),
        SSL.Error([("SSL routines", "", "in\njected")]),
        SSL.Error([()]),
        SSL.SysCallError(-1, "Unexpected EOF"),
        SSL.ZeroReturnError(),
    ],
)
def test_an_unknown_reason_is_omitted(fault: BaseException) -> None:
    assert failure_of_tls(fault) == "TLS failed"
