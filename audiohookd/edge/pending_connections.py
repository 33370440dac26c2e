"""Holds the connections that have no WebSocket yet, none of which is authenticated."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PendingConnections(Generic[T]):
    """A bounded set of connections. Beyond the limit the oldest is evicted, and a new call is never rejected.

    :param limit: the largest number of connections; at least 1.
    :param evict: called with each evicted connection, which has been removed already.
    """

    def __init__(self, limit: int, evict: Callable[[T], object]) -> None:
        self._limit = limit
        self._evict = evict
        self._pending: OrderedDict[T, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, connection: T) -> None:
        """Adds a connection, and evicts the oldest one if the set is full."""
        evicted = [self._pending.popitem(last=False)[0]] if len(self) >= self._limit else []
        self._pending[connection] = None
        for oldest in evicted:
            self._evict(oldest)

    def discard(self, connection: T) -> None:
        """Removes a connection if it is in the set."""
        self._pending.pop(connection, None)
