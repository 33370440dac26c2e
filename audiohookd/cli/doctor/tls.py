"""Checks TLS as Genesys Cloud does: a public authority, the right name, a valid date, a current version."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from audiohookd.cli.doctor.certificate import SOON, Certificate, why_untrusted
from audiohookd.cli.doctor.steps import Deadline, Done, State, StepFailed
from audiohookd.cli.usage_error import UsageError


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
