"""A TCP proxy between an S3 client and its store that injects the faults of networks and busy stores.

Bytes pass unchanged, the Host header included, so the store sees the request as the client signed it.
"""

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from tests.stores.faults import Fault, Rule, Seen
from tests.stores.http_relay import Relay, reset
from tests.stores.ports import free_ports


class FaultProxy:
    """Listens on loopback, in its own thread; as a context manager it accepts connections inside the block.

    All methods may be called from any thread, and affect requests that begin after the call.
    """

    def __init__(self, upstream_port: int) -> None:
        (self.port,) = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{self.port}"
        #: The requests that have ended, in that order.
        self.log: list[Seen] = []
        #: Connections accepted, and bytes of request bodies received from clients.
        self.connections = self.received = 0
        #: Bytes per second that the bodies of all requests share; None for no limit.
        self.rate: float | None = None
        #: Whether connections are reset as soon as they are accepted.
        self.resets = False
        self._upstream_port = upstream_port
        self._rules: list[Rule] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._relays: set[asyncio.Task[None]] = set()
        self._free_at = 0.0  # when everything received so far has been forwarded

    def __enter__(self) -> Self:
        self._thread.start()
        self.accept()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # ---- faults ----------------------------------------------------------------------------------

    def fault(self, fault: Fault, times: int | None = 1, method: str = ".*", path: str = "") -> None:
        """Injects ``fault`` into the next ``times`` requests that match; see :class:`Rule`. The first matching rule
        applies.
        """
        self._rules.append(Rule(fault, times, method, path))

    def heal(self) -> None:
        """Ends all faults, except that requests that hang keep hanging."""
        self._rules.clear()
        self.rate, self.resets = None, False
        self.accept()

    def refuse(self) -> None:
        """Stops listening, and resets all connections."""
        self._run(self._refuse())

    def accept(self) -> None:
        """Listens again, on the same port."""
        self._run(self._accept())

    def count(self, method: str = ".*", path: str = "", status: int | str | None = None) -> int:
        """How many matching requests have ended."""
        return sum(seen.fits(method, path, status) for seen in list(self.log))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    # ---- in the loop's thread --------------------------------------------------------------------

    def choose(self, method: str, path: str) -> Fault | None:
        """See :class:`tests.stores.http_relay.Line`."""
        return next((rule.fault for rule in self._rules if rule.takes(method, path)), None)

    async def pace(self, size: int) -> None:
        """See :class:`tests.stores.http_relay.Line`."""
        self.received += size
        if self.rate is not None:
            self._free_at = max(self._free_at, self._loop.time()) + size / self.rate
            await asyncio.sleep(self._free_at - self._loop.time())

    def ended(self, seen: Seen) -> None:
        """See :class:`tests.stores.http_relay.Line`."""
        self.log.append(seen)

    async def _accept(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        while self._relays:  # more may begin while these end
            relays = set(self._relays)
            for relay in relays:
                relay.cancel()
            await asyncio.wait(relays)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        relay = self._loop.create_task(self._relay(reader, writer))
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not self.resets:
                await Relay(self, (reader, writer)).run(self._upstream_port)
        except (asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            pass  # the usual ends of connections
        finally:
            reset(writer)
