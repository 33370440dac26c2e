"""A TLS proxy on loopback in front of a server, with certificates of a temporary authority."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "audiohook.example.com"

_UNUSED = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")


class Pair(NamedTuple):
    """A PEM file with a certificate and its key."""

    file: Path
    certificate: x509.Certificate
    key: Any


def pair(
    file: Path,
    name: str = HOST,
    issuer: Pair | None = None,
    days: tuple[float, float] = (-1, 90),
    ca: bool = False,
    san: bool = True,
) -> Pair:
    """Makes a certificate and its key.

    :param issuer: signs the certificate; None: it is self-signed.
    :param days: first and last day of validity, in days from now.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if san:
        builder = builder.add_extension(x509.SubjectAlternativeName([_subject(name)]), critical=False)
    if ca:
        usage = dict.fromkeys((*_UNUSED, "encipher_only", "decipher_only"), False)
        signs = x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True)
        builder = builder.add_extension(signs, critical=True)
    certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return Pair(file, certificate, key)


def _subject(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@contextmanager
def fronting(backend: int, certificate: Pair, timeout: float = 20.0) -> Iterator[int]:
    """Forwards TLS connections to the port ``backend`` on loopback. Yields its own port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    ended: list[bool] = []
    threads: list[Thread] = []

    def serve() -> None:
        while not ended:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(timeout)
            threads.append(Thread(target=_relay, args=(context, connection, backend)))
            threads[-1].start()

    accepting = Thread(target=serve)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        ended.append(True)
        accepting.join()
        for thread in threads:
            thread.join()
        listener.close()


def _relay(context: ssl.SSLContext, connection: socket.socket, backend: int) -> None:
    with connection:
        try:
            client = context.wrap_socket(connection, server_side=True)
        except OSError:
            return  # the client rejected the certificate, or only checked the port
        with client, socket.create_connection(("127.0.0.1", backend)) as server:
            back = Thread(target=_pump, args=(server, client))
            back.start()
            _pump(client, server)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    # Also after an error: a client that closes with unread session tickets resets the connection, and the backend
    # must see the end. On Debian 13 this test hung.
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def answering(answer: bytes | None) -> Iterator[int]:
    """A plain TCP server that sends ``answer`` to every connection, or nothing. Yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    ended: list[bool] = []

    def serve() -> None:
        taken: list[socket.socket] = []
        while not ended:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            taken.append(connection)
            if answer is not None:
                connection.settimeout(20)
                if connection.recv(65_536):
                    connection.sendall(answer)
                connection.close()
        for connection in taken:
            connection.close()

    thread = Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        ended.append(True)
        thread.join()
        listener.close()
