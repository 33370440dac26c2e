"""TLS of the calls: the trusted authorities, and the reason of a TLS failure."""

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.ssl import OpenSSLDefaultPaths, optionsForClientTLS
from twisted.internet.threads import deferToThreadPool

from audiohookd.cli.doctor.steps import Deadline, StepFailed
from audiohookd.cli.doctor.tls import secure, trusting
from audiohookd.cli.target import Target

#: Seconds for the second connection, which finds the reason of a TLS failure.
_DIAGNOSIS_TIMEOUT = 8.0


class _Trust(OpenSSLDefaultPaths):
    """Trusts the authorities of the system, and those in a file."""

    def __init__(self, ca: Path) -> None:
        self._ca = ca

    def _addCACertsToContext(self, context: Any) -> None:
        super()._addCACertsToContext(context)
        context.load_verify_locations(str(self._ca))


def secured(endpoint: Any, host: str, ca: Path | None) -> Any:
    """Wraps ``endpoint``, an IStreamClientEndpoint, in TLS for the name ``host``.

    :param ca: authorities to trust in addition to the system's.
    """
    return wrapClientTLS(optionsForClientTLS(host, None if ca is None else _Trust(ca)), endpoint)


class TlsFailure:
    """Finds the reason of a TLS failure, once for all calls, in a thread and with connections of its own.

    pyOpenSSL reports only "certificate verify failed".

    :param ca: as for :func:`secured`.
    :raises UsageError: the file contains no certificate.
    """

    def __init__(self, reactor: Any, target: Target, ca: Path | None) -> None:
        self._reactor = reactor
        self._target = target
        self._context = trusting(ca)
        self._answer: Deferred[str | None] | None = None

    def explain(self, callback: Callable[[str | None], None]) -> None:
        """Calls ``callback`` with the reason, or with None if the second connection succeeds."""

        def pass_on(reason: str | None) -> str | None:
            callback(reason)
            return reason

        if self._answer is None:
            self._answer = deferToThreadPool(
                self._reactor, self._reactor.getThreadPool(), find_failure, self._target, self._context
            )
        self._answer.addCallback(pass_on)


def find_failure(target: Target, context: ssl.SSLContext) -> str | None:
    """The reason why TLS fails with ``context``. None if it succeeds or TCP fails. Blocks for at most 8 s."""

    def dial(deadline: Deadline) -> socket.socket:
        return socket.create_connection(target.address, deadline.left())

    try:
        deadline = Deadline(time.monotonic, _DIAGNOSIS_TIMEOUT)
        secure(dial, context, target.host, time.time(), deadline).value.close()
    except StepFailed as failure:
        return str(failure)
    except OSError:  # the server no longer accepts a TCP connection
        return None
    return None
