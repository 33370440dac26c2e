"""TLS of our own, for those who have no proxy, with a certificate that can be renewed while calls run.

Needs pyOpenSSL, which the daemon does without otherwise: import it only when it is wanted.
"""

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory, IReactorTime
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

#: Bytes of a PEM file: a chain has some thousands.
MAX_FILE = 1_048_576
#: For TLS 1.2; TLS 1.3 has its own, all of them good.
CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
_encrypted = re.compile(rb"ENCRYPTED")


class BadKey(ValueError):
    """A private key that cannot be read or used, or is not that of the certificate. Quotes nothing of it."""


class Identity:
    """A certificate with its key and chain, ready for use."""

    def __init__(self, leaf: x509.Certificate, chain: Sequence[x509.Certificate], key: Any) -> None:
        self.context = server_context()
        self.context.use_certificate(leaf)
        for link in chain:
            self.context.add_extra_chain_cert(link)
        self.context.use_privatekey(key)
        self.context.check_privatekey()
        #: When the certificate expires, in UNIX seconds, and as a date.
        self.expires: float = leaf.not_valid_after_utc.timestamp()
        self.expiry = leaf.not_valid_after_utc.date().isoformat()


def server_context() -> SSL.Context:
    """TLS 1.2 or newer with forward secrecy and authenticated encryption; no compression, no session resumption.

    Not Twisted's ``CertificateOptions``: it always registers a callback for ALPN. Each callback of pyOpenSSL needs
    memory that is writable and executable, which ``MemoryDenyWriteExecute=yes`` of the systemd unit refuses: the
    daemon ended with MemoryError at its start. So no callback of a context or a connection may be used here.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_TICKET)
    # Renegotiation lets a client request the costly half of a handshake again and again.
    context.set_options(SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # Idle connections keep no buffers of 16 KiB.
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context


@implementer(IOpenSSLServerConnectionCreator)
class Identification:
    """Gives each new connection the identity of the day. Connections keep the one that they began with."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See the interface."""
        return SSL.Connection(self.identity.context, None)


def secured(factory: IProtocolFactory, identification: Identification, clock: IReactorTime) -> TLSMemoryBIOFactory:
    """``factory``, spoken to through TLS on whatever it is given."""
    wrapped = TLSMemoryBIOFactory(identification, False, factory, clock)
    wrapped.noisy = False
    return wrapped


def read_identity(certificate: Path, key: Path) -> Identity:
    """The certificate, followed by its chain, in one PEM file, and its key in another (or the same). Blocks.

    :raises BadKey: something is wrong with the key, or they do not belong together.
    :raises ValueError: something is wrong with the certificate.
    :raises OSError: it cannot be read.
    """
    leaf, *chain = _certificates(_read(certificate), certificate)
    try:
        return Identity(leaf, chain, _key(key))
    except SSL.Error:
        raise BadKey(f"{key} and {certificate} do not belong together, or are too weak") from None


def _certificates(pem: bytes, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ValueError(f"{path} has no certificate in PEM, or a broken one") from None


def _key(path: Path) -> Any:
    try:
        pem = _read(path, is_secret=True)
    except ValueError as fault:
        raise BadKey(str(fault)) from None
    except OSError as fault:
        raise BadKey(f"{path}: {fault.strerror}") from None
    if _encrypted.search(pem):
        raise BadKey(f"{path} is encrypted: there is nobody to ask for the password")
    try:
        return load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadKey(f"{path} has no private key in PEM, or a broken one") from None


def _read(path: Path, is_secret: bool = False) -> bytes:
    with path.open("rb") as file:
        if is_secret and os.fstat(file.fileno()).st_mode & stat.S_IRWXO:
            raise ValueError(f"{path} is open to all users: chmod o= {path}")
        content = file.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise ValueError(f"{path} is larger than {MAX_FILE} bytes")
    return content
