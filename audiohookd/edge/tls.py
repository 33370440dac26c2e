"""TLS without a proxy, with a certificate that can be reloaded while calls run.

Needs pyOpenSSL, which is optional: import this module only if TLS is configured.
"""

import re
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

from audiohookd.secret_file import SecretFileError, read_secret_file

#: Largest PEM file, in bytes. A chain has some thousands.
MAX_FILE = 1_048_576
#: Cipher suites for TLS 1.2. All suites of TLS 1.3 stay enabled.
CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
_encrypted = re.compile(rb"ENCRYPTED")


class BadKey(ValueError):
    """The private key cannot be read or used, or does not match the certificate. The text never quotes the key."""


class Identity:
    """A certificate with its key and chain, as an OpenSSL context.

    :raises SSL.Error: the key does not match the certificate.
    """

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
    """Returns a context for TLS 1.2 or newer with forward secrecy and authenticated encryption.

    Compression and session resumption are off. Twisted's ``CertificateOptions`` is not used, because it always
    registers a callback for ALPN. Each pyOpenSSL callback needs memory that is writable and executable, which the
    systemd unit denies (``MemoryDenyWriteExecute=yes``): the daemon ended with MemoryError at its start. So no
    callback of a context or a connection may be used here.
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
    """Gives each new connection the current identity. An open connection keeps the one it started with."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See the interface."""
        return SSL.Connection(self.identity.context, None)


def secured(factory: IProtocolFactory, identification: Identification, clock: IReactorTime) -> TLSMemoryBIOFactory:
    """Puts TLS in front of ``factory``."""
    wrapped = TLSMemoryBIOFactory(identification, False, factory, clock)
    wrapped.noisy = False
    return wrapped


def read_identity(certificate: Path, key: Path) -> Identity:
    """Reads a certificate, followed by its chain, from one PEM file, and its key from another or the same. Blocks.

    :raises BadKey: the key cannot be read or used, or does not match the certificate.
    :raises ValueError: the certificate file has no valid certificate, or is too large.
    :raises OSError: the certificate file cannot be read.
    """
    leaf, *chain = _certificates(_read(certificate), certificate)
    try:
        return Identity(leaf, chain, _key(key))
    except SSL.Error:
        raise BadKey(f"{key} and {certificate} do not match, or are too weak") from None


def _certificates(pem: bytes, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ValueError(f"{path} has no certificate in PEM, or a broken one") from None


def _key(path: Path) -> Any:
    try:
        pem = read_secret_file(path)
    except SecretFileError as error:
        raise BadKey(str(error)) from None
    if _encrypted.search(pem):
        raise BadKey(f"{path} is encrypted: decrypt it, the daemon cannot ask for a password")
    try:
        return load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadKey(f"{path} has no private key in PEM, or a broken one") from None


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise ValueError(f"{path} is larger than {MAX_FILE} bytes")
    return content
