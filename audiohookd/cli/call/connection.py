"""One attempt to call: from the TCP connection to the end of the WebSocket."""

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

#: Seconds for DNS and TCP.
_CONNECT_TIMEOUT = 10.0


#: Finds out why there is no TLS; calls back with the reason, or with None.
ExplainTls = Callable[[Callable[[str | None], None]], None]


def endpoint(reactor: Any, target: Target, ca: Path | None = None) -> tuple[Any, ExplainTls | None]:
    """An IStreamClientEndpoint for a target; and for TLS what explains its failures.

    :param ca: authorities to trust in addition to the system's.
    :raises ImportError: it takes TLS, and OpenSSL is not installed.
    :raises Mistake: there is no certificate in ``ca``.
    """
    plain = HostnameEndpoint(reactor, *target.address, timeout=_CONNECT_TIMEOUT)
    if not target.is_secure:
        return plain, None
    # Not at the top: it takes OpenSSL, and ws:// does not.
    from audiohookd.cli.call.tls import TlsFailure, secured  # noqa: PLC0415

    failure = TlsFailure(reactor, target, ca)
    return secured(plain, target.host, ca), failure.explain


class Connection:
    """Connects at once.

    :param done: called once, at the end: with the reason why there was no WebSocket, or None if there was one; and
        with how the server closed it, or None if it did not.
    :param explain_tls: asked for the reason where a server of ``wss://`` was lost before it had answered.
    """

    def __init__(
        self,
        reactor: Any,
        endpoint: Any,
        request: ConnectingRequest,
        conversation: CallSession,
        done: Callable[[str | None, str | None], None],
        explain_tls: ExplainTls | None = None,
    ) -> None:
        self._conversation = conversation
        self._done = done
        self._explain_tls = explain_tls
        self._is_given_up = False
        self._protocol: CallProtocol | None = None
        factory = CallFactory(reactor, request, conversation, self)
        self._connecting: Deferred[Any] = endpoint.connect(factory)
        self._connecting.addCallbacks(self._connected, self._failed)

    def hang_up(self) -> None:
        """Ends the call politely, or the attempt at once."""
        if self._protocol is not None and self._protocol.is_upgraded:
            self._conversation.hang_up()
        else:
            self.abort()

    def abort(self) -> None:
        """Ends it at once."""
        self._is_given_up = True
        if self._protocol is None:
            self._connecting.cancel()
        else:
            self._protocol.dropConnection(abort=True)

    def gone(self, why: str | None, closing: str | None) -> None:
        """See :class:`~audiohookd.cli.call.websocket.Owner`."""
        if why and self._is_given_up:
            self._done(GIVEN_UP, None)
        elif why and self._explain_tls is not None and self._protocol is not None and not self._protocol.is_answered:
            self._explain_tls(lambda explained: self._done(explained or why, None))
        else:
            self._done(why, closing)

    def _connected(self, protocol: CallProtocol) -> None:
        self._protocol = protocol

    def _failed(self, failure: Failure) -> None:
        # A cancelled attempt may fail with anything, such as `no such host`.
        self._done(GIVEN_UP if self._is_given_up else no_connection(failure.value), None)
