"""TLS with the eyes of Genesys Cloud: a public authority, the right name, not expired, not too old."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from audiohookd.cli.doctor.certificate import SOON, Certificate, why_untrusted
from audiohookd.cli.doctor.steps import Deadline, Done, State, StepFailed
from audiohookd.cli.usage_error import UsageError


def trusting(ca: Path | None) -> ssl.SSLContext:
    """Trusts what the system does, and the authorities in a file.

    :raises Mistake: there are none in it.
    """
    context = ssl.create_default_context()
    context.hostname_checks_common_name = False  # browsers and Java accept subjectAltName only
    # Python 3.13 sets it, and rejects a certificate without an authority key identifier. Genesys Cloud accepts that.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except (OSError, ssl.SSLError) as fault:
            raise UsageError(f"{ca}: holds no certificates (PEM): {fault.strerror or fault}") from None
    return context


def secure(
    dial: Callable[[Deadline], socket.socket], context: ssl.SSLContext, host: str, now: float, deadline: Deadline
) -> Done[ssl.SSLSocket]:
    """A TLS connection. A certificate that is not trusted is looked at on another one, on which nothing is said.

    :param dial: makes a TCP connection.
    :raises Trouble: there is no TLS there, or none to trust: whoever that is shall not be told a key.
    """
    try:
        connection = handshake(dial(deadline), context, host, deadline)
    except ssl.SSLCertVerificationError as fault:
        with handshake(dial(deadline), _trusting_anybody(), host, deadline) as untrusted:
            why = why_untrusted(fault, host, _certificate(untrusted, now))
        raise StepFailed(f"{why} (so no key was sent there)") from None
    certificate = _certificate(connection, now)
    text = f"{connection.version()}, certificate {certificate}"
    if certificate.days_left <= SOON:
        return Done(connection, f"{text}: renew it", State.NOTE)
    return Done(connection, text)


def handshake(tcp: socket.socket, context: ssl.SSLContext, host: str, deadline: Deadline) -> ssl.SSLSocket:
    """Makes a TLS connection of a TCP connection, which is closed when that fails.

    :raises ssl.SSLCertVerificationError: the certificate is not trusted.
    :raises Trouble: no TLS came about for another reason.
    """
    tcp.settimeout(deadline.left())
    try:
        return context.wrap_socket(tcp, server_hostname=host)
    except ssl.SSLCertVerificationError:
        tcp.close()
        raise
    except TimeoutError:
        tcp.close()
        raise StepFailed("somebody takes the connection, and says nothing: is it a TLS port?") from None
    except (OSError, ValueError) as fault:
        tcp.close()
        raise StepFailed(f"no TLS: {_plain(fault)}") from None


def _plain(fault: Exception) -> str:
    reason = getattr(fault, "reason", None) or str(fault)
    known = {
        "WRONG_VERSION_NUMBER": "the port speaks no TLS (plain HTTP?)",
        "RECORD_LAYER_FAILURE": "the port speaks no TLS (plain HTTP?)",
        "UNSUPPORTED_PROTOCOL": "the server speaks only versions of TLS that are too old",
        "TLSV1_ALERT_PROTOCOL_VERSION": "the server speaks only versions of TLS that are too old",
        "TLSV1_UNRECOGNIZED_NAME": "the server does not know this name",
    }
    return known.get(str(reason), str(reason))


def _trusting_anybody() -> ssl.SSLContext:
    """To look at what is not trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _certificate(connection: ssl.SSLSocket, now: float) -> Certificate:
    der = connection.getpeercert(binary_form=True)
    if der is None:
        raise StepFailed("the server shows no certificate")
    return Certificate(der, now)
