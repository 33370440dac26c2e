"""Checks TLS as Genesys Cloud does: a public authority, the right name, a valid date, a current version."""

import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID, NameOID

from audiohookd.cli.doctor.steps import Deadline, Done, State, StepFailed
from audiohookd.cli.usage_error import UsageError

#: Days before expiry from which doctor notes that the certificate must be renewed.
SOON = 14

_NOT_YET, _EXPIRED, _SELF_SIGNED, _PRIVATE_ROOT, _WRONG_NAME, _WRONG_ADDRESS = 9, 10, 18, 19, 62, 64
_NO_ISSUER = frozenset({2, 20, 21})


class Certificate:
    """The leaf certificate of a server.

    :param now: UNIX seconds.
    """

    def __init__(self, der: bytes, now: float) -> None:
        self._certificate = x509.load_der_x509_certificate(der)
        self._now = datetime.fromtimestamp(now, UTC)

    @property
    def names(self) -> list[str]:
        """The names and addresses in subjectAltName."""
        try:
            names = self._certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return []
        return [str(name.value) for name in names]

    @property
    def days_left(self) -> int:
        """Days until the certificate expires. Negative after that."""
        return (self._certificate.not_valid_after_utc - self._now).days

    @property
    def issuer(self) -> str:
        """The name of the issuer."""
        for attribute in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
            if found := self._certificate.issuer.get_attributes_for_oid(attribute):
                return str(found[0].value)
        return "an issuer without a name"

    @property
    def end(self) -> str:
        """The day on which the certificate expires, as ``2026-01-31``."""
        return self._certificate.not_valid_after_utc.date().isoformat()

    @property
    def start(self) -> str:
        """The first day on which the certificate is valid, as ``2026-01-31``."""
        return self._certificate.not_valid_before_utc.date().isoformat()

    @property
    def has_public_issuer(self) -> bool:
        """Whether the certificate has a URL of its issuer's certificate, as those from public authorities have."""
        try:
            access = self._certificate.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_INFORMATION_ACCESS)
        except x509.ExtensionNotFound:
            return False
        value = access.value
        return isinstance(value, x509.AuthorityInformationAccess) and any(
            entry.access_method == AuthorityInformationAccessOID.CA_ISSUERS for entry in value
        )

    def __str__(self) -> str:
        names = ", ".join(self.names[:4]) + (", ..." if len(self.names) > 4 else "")
        return f"for {names or 'no name'}, by {self.issuer}, expires {self.end} ({self.days_left} days)"


def why_untrusted(error: ssl.SSLCertVerificationError, host: str, certificate: Certificate) -> str:
    """Explains a failed verification, and says what to do."""
    names = ", ".join(certificate.names) or "no name"
    wrong_name = f"the certificate is for {names}, not for {host}: get one for that name"
    texts = {
        _EXPIRED: f"the certificate expired on {certificate.end}: renew it, and reload the proxy",
        _NOT_YET: f"the certificate is not valid before {certificate.start}: is the clock of this machine right?",
        _WRONG_NAME: wrong_name,
        _WRONG_ADDRESS: wrong_name,
        _SELF_SIGNED: "the certificate is self-signed: Genesys Cloud trusts only public certificate authorities",
        _PRIVATE_ROOT: "a private authority issued the certificate: Genesys Cloud trusts only public authorities",
    }
    if error.verify_code in _NO_ISSUER:
        return _unknown_issuer(certificate)
    return texts.get(error.verify_code, error.verify_message)


def _unknown_issuer(certificate: Certificate) -> str:
    issuer = certificate.issuer
    if certificate.has_public_issuer:
        return f"the server does not send the intermediate certificate {issuer}: give the proxy the full chain"
    return f"the issuer {issuer} is unknown: it is a private authority, or the intermediate certificate is missing"


def trusting(ca: Path | None) -> ssl.SSLContext:
    """A TLS context that trusts the system's authorities, and those in the file ``ca``.

    :raises UsageError: the file holds no certificates.
    """
    context = ssl.create_default_context()
    context.hostname_checks_common_name = False  # browsers and Java accept subjectAltName only
    # Python 3.13 sets it, and rejects a certificate without an authority key identifier. Genesys Cloud accepts that.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"{ca}: contains no certificates (PEM): {error.strerror or error}") from None
    return context


def secure(
    dial: Callable[[Deadline], socket.socket], context: ssl.SSLContext, host: str, now: float, deadline: Deadline
) -> Done[ssl.SSLSocket]:
    """Opens a TLS connection. An untrusted certificate is read over a second connection, on which nothing is sent.

    :param dial: opens a TCP connection.
    :raises StepFailed: the server speaks no TLS, or is not trusted: the API key must not be sent to it.
    """
    try:
        connection = handshake(dial(deadline), context, host, deadline)
    except ssl.SSLCertVerificationError as error:
        with handshake(dial(deadline), _unverified_context(), host, deadline) as untrusted:
            why = why_untrusted(error, host, _certificate(untrusted, now))
        raise StepFailed(f"{why} (the API key was not sent)") from None
    certificate = _certificate(connection, now)
    text = f"{connection.version()}, certificate {certificate}"
    if certificate.days_left <= SOON:
        return Done(connection, f"{text}: renew it", State.NOTE)
    return Done(connection, text)


def handshake(tcp: socket.socket, context: ssl.SSLContext, host: str, deadline: Deadline) -> ssl.SSLSocket:
    """Performs a TLS handshake over a TCP connection. Closes the connection on failure.

    :raises ssl.SSLCertVerificationError: the certificate is not trusted.
    :raises StepFailed: the handshake failed for another reason.
    """
    tcp.settimeout(deadline.left())
    try:
        return context.wrap_socket(tcp, server_hostname=host)
    except ssl.SSLCertVerificationError:
        tcp.close()
        raise
    except TimeoutError:
        tcp.close()
        raise StepFailed(
            "timed out: the server accepts the connection but sends nothing: is it a TLS port?"
        ) from None
    except (OSError, ValueError) as error:
        tcp.close()
        raise StepFailed(f"no TLS: {_describe(error)}") from None


def _describe(error: Exception) -> str:
    reason = getattr(error, "reason", None) or str(error)
    known = {
        "WRONG_VERSION_NUMBER": "the port does not speak TLS (plain HTTP?)",
        "RECORD_LAYER_FAILURE": "the port does not speak TLS (plain HTTP?)",
        "UNSUPPORTED_PROTOCOL": "the server supports only versions of TLS that are too old",
        "TLSV1_ALERT_PROTOCOL_VERSION": "the server supports only versions of TLS that are too old",
        "TLSV1_UNRECOGNIZED_NAME": "the server does not serve this name",
    }
    return known.get(str(reason), str(reason))


def _unverified_context() -> ssl.SSLContext:
    """A context that verifies nothing, to read an untrusted certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _certificate(connection: ssl.SSLSocket, now: float) -> Certificate:
    der = connection.getpeercert(binary_form=True)
    if der is None:
        raise StepFailed("the server shows no certificate")
    return Certificate(der, now)
