"""Who has connected and has no WebSocket yet: strangers, all of them."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lobby(Generic[T]):
    """So many may wait. When one more comes, the one that waits longest has to go: calls are never turned away here.

    :param limit: how many; at least one.
    :param crowd_out: called with who has to go, who has left already.
    """

    def __init__(self, limit: int, crowd_out: Callable[[T], object]) -> None:
        self._limit = limit
        self._crowd_out = crowd_out
        self._waiting: OrderedDict[T, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, comer: T) -> None:
        """One more."""
        going = [self._waiting.popitem(last=False)[0]] if len(self) >= self._limit else []
        self._waiting[comer] = None
        for oldest in going:
            self._crowd_out(oldest)

    def leave(self, goer: T) -> None:
        """Harmless when it is not here."""
        self._waiting.pop(goer, None)
