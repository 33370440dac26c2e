"""One attempt to call: from the TCP connection to the end of the WebSocket."""

from collections.abc import Callable
from typing import Any

from autobahn.websocket.types import ConnectingRequest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.python.failure import Failure

from audiohookd.cli.call.conversation import Conversation
from audiohookd.cli.call.failures import GIVEN_UP, no_connection
from audiohookd.cli.call.options import Target
from audiohookd.cli.call.websocket import CallFactory, CallProtocol

#: Seconds for DNS and TCP.
_CONNECT_TIMEOUT = 10.0


def endpoint(reactor: Any, target: Target) -> Any:
    """An IStreamClientEndpoint for a target.

    :raises ImportError: it takes TLS, and OpenSSL is not installed.
    """
    plain = HostnameEndpoint(reactor, target.host, target.port, timeout=_CONNECT_TIMEOUT)
    if not target.is_secure:
        return plain
    # Not at the top: it takes OpenSSL, and ws:// does not.
    from twisted.internet.ssl import optionsForClientTLS  # noqa: PLC0415

    return wrapClientTLS(optionsForClientTLS(target.host), plain)


class Connection:
    """Connects at once.

    :param done: called once, at the end, with the reason why there was no WebSocket, or None if there was one.
    """

    def __init__(
        self,
        reactor: Any,
        endpoint: Any,
        request: ConnectingRequest,
        conversation: Conversation,
        done: Callable[[str | None], None],
    ) -> None:
        self._conversation = conversation
        self._done = done
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

    def gone(self, why: str | None) -> None:
        """See :class:`~audiohookd.cli.call.websocket.Owner`."""
        self._done(GIVEN_UP if why and self._is_given_up else why)

    def _connected(self, protocol: CallProtocol) -> None:
        self._protocol = protocol

    def _failed(self, failure: Failure) -> None:
        # A cancelled attempt may fail with anything, such as `no such host`.
        self._done(GIVEN_UP if self._is_given_up else no_connection(failure.value))
