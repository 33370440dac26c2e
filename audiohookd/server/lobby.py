"""Who has connected and has no WebSocket yet: strangers, all of them."""

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Lobby(Generic[T]):
    """So many may wait. When one more comes, the one that waits longest has to go: calls are never turned away here.

    :param limit: how many; at least one.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: OrderedDict[T, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, comer: T) -> T | None:
        """Returns who has to go, if anybody has to; it has left already."""
        gone = self._waiting.popitem(last=False)[0] if len(self) >= self._limit else None
        self._waiting[comer] = None
        return gone

    def leave(self, goer: T) -> None:
        """Harmless when it is not here."""
        self._waiting.pop(goer, None)
