"""Who has connected and has no WebSocket yet: strangers, all of them."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PendingConnections(Generic[T]):
    """So many may wait. When one more comes, the one that waits longest has to go: calls are never turned away here.

    :param limit: how many; at least one.
    :param crowd_out: called with who has to go, who has left already.
    """

    def __init__(self, limit: int, evict: Callable[[T], object]) -> None:
        self._limit = limit
        self._evict = evict
        self._pending: OrderedDict[T, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, connection: T) -> None:
        """One more."""
        evicted = [self._pending.popitem(last=False)[0]] if len(self) >= self._limit else []
        self._pending[connection] = None
        for oldest in evicted:
            self._evict(oldest)

    def discard(self, connection: T) -> None:
        """Harmless when it is not here."""
        self._pending.pop(connection, None)
