"""TLS of the calls: which authorities are trusted, and why a server was not."""

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

#: Seconds for a second look at a server after a failure of TLS.
_LOOK = 8.0


class _Trust(OpenSSLDefaultPaths):
    """The authorities of the system and of a file."""

    def __init__(self, ca: Path) -> None:
        self._ca = ca

    def _addCACertsToContext(self, context: Any) -> None:
        super()._addCACertsToContext(context)
        context.load_verify_locations(str(self._ca))


def secured(endpoint: Any, host: str, ca: Path | None) -> Any:
    """An IStreamClientEndpoint that speaks TLS to ``host`` over ``endpoint``.

    :param ca: authorities to trust in addition to the system's.
    """
    return wrapClientTLS(optionsForClientTLS(host, None if ca is None else _Trust(ca)), endpoint)


class TlsFailure:
    """Finds out why there is no TLS with a server, once for all calls: in a thread, with connections of its own.

    pyOpenSSL says "certificate verify failed" and no more.

    :param ca: as for :func:`secured`.
    :raises Mistake: there is no certificate in the file.
    """

    def __init__(self, reactor: Any, target: Target, ca: Path | None) -> None:
        self._reactor = reactor
        self._target = target
        self._context = trusting(ca)
        self._answer: Deferred[str | None] | None = None

    def explain(self, tell: Callable[[str | None], None]) -> None:
        """Calls ``tell`` with the reason, or with None where a second look finds nothing wrong."""

        def pass_on(why: str | None) -> str | None:
            tell(why)
            return why

        if self._answer is None:
            self._answer = deferToThreadPool(
                self._reactor, self._reactor.getThreadPool(), look, self._target, self._context
            )
        self._answer.addCallback(pass_on)


def look(target: Target, context: ssl.SSLContext) -> str | None:
    """Why there is no TLS that ``context`` trusts; None where there is. Blocks, for some seconds at most."""

    def dial(deadline: Deadline) -> socket.socket:
        return socket.create_connection(target.address, deadline.left())

    try:
        secure(dial, context, target.host, time.time(), Deadline(time.monotonic, _LOOK)).value.close()
    except StepFailed as trouble:
        return str(trouble)
    except OSError:  # it does not even take a connection any more
        return None
    return None
