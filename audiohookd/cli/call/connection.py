"""One attempt at a call, from the TCP connection to the end of the WebSocket."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from autobahn.websocket.types import ConnectingRequest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.python.failure import Failure

from audiohookd.cli.call.call import CallSession
from audiohookd.cli.call.failures import GIVEN_UP, no_connection
from audiohookd.cli.call.websocket import CallFactory, CallProtocol
from audiohookd.cli.target import Target

#: Seconds to resolve the name and open the TCP connection.
_CONNECT_TIMEOUT = 10.0


#: Finds the reason of a TLS failure, and calls back with it, or with None if there is none.
ExplainTls = Callable[[Callable[[str | None], None]], None]


def endpoint(reactor: Any, target: Target, ca: Path | None = None) -> tuple[Any, ExplainTls | None]:
    """An IStreamClientEndpoint for a target, and for wss:// a function that explains TLS failures.

    :param ca: authorities to trust in addition to the system's.
    :raises ImportError: the target needs TLS, and OpenSSL is not installed.
    :raises UsageError: the file ``ca`` contains no certificate.
    """
    plain = HostnameEndpoint(reactor, *target.address, timeout=_CONNECT_TIMEOUT)
    if not target.is_secure:
        return plain, None
    # Imported here because it needs OpenSSL, which ws:// does not need.
    from audiohookd.cli.call.tls import TlsFailure, secured  # noqa: PLC0415

    failure = TlsFailure(reactor, target, ca)
    return secured(plain, target.host, ca), failure.explain


class Connection:
    """One attempt at a call. It connects at once.

    :param done: called once at the end. First argument: the reason why there was no WebSocket, None if there was one.
        Second: how the server closed the WebSocket, None if it did not.
    :param explain_tls: finds the reason if a ``wss://`` connection is lost before the server responds.
    """

    def __init__(
        self,
        reactor: Any,
        endpoint: Any,
        request: ConnectingRequest,
        session: CallSession,
        done: Callable[[str | None, str | None], None],
        explain_tls: ExplainTls | None = None,
    ) -> None:
        self._session = session
        self._done = done
        self._explain_tls = explain_tls
        self._is_given_up = False
        self._protocol: CallProtocol | None = None
        factory = CallFactory(reactor, request, session, self)
        self._connecting: Deferred[Any] = endpoint.connect(factory)
        self._connecting.addCallbacks(self._connected, self._failed)

    def hang_up(self) -> None:
        """Ends the call with ``close``. Before the upgrade, aborts the attempt."""
        if self._protocol is not None and self._protocol.is_upgraded:
            self._session.hang_up()
        else:
            self.abort()

    def abort(self) -> None:
        """Drops the connection at once."""
        self._is_given_up = True
        if self._protocol is None:
            self._connecting.cancel()
        else:
            self._protocol.dropConnection(abort=True)

    def gone(self, reason: str | None, closing: str | None) -> None:
        """See :class:`~audiohookd.cli.call.websocket.Owner`."""
        if reason and self._is_given_up:
            self._done(GIVEN_UP, None)
        elif (
            reason and self._explain_tls is not None and self._protocol is not None and not self._protocol.is_answered
        ):
            self._explain_tls(lambda explained: self._done(explained or reason, None))
        else:
            self._done(reason, closing)

    def _connected(self, protocol: CallProtocol) -> None:
        self._protocol = protocol

    def _failed(self, failure: Failure) -> None:
        # A cancelled attempt may fail with an unrelated error, such as `no such host`.
        self._done(GIVEN_UP if self._is_given_up else no_connection(failure.value), None)
