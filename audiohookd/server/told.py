"""Who is refused in a session of his own, and not by a status: that takes a place, for seconds."""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from audiohookd.protocol.messages import DisconnectReason

T = TypeVar("T")


class Told(Generic[T]):
    """So many at a time, for each reason that they are told.

    :param places: how many, and what the limit is called.
    :param count: counts by name and label.
    """

    def __init__(self, places: Mapping[DisconnectReason, tuple[int, str]], count: Callable[..., object]) -> None:
        self._places = places
        self._count = count
        self._there: dict[DisconnectReason, set[T]] = {reason: set() for reason in places}

    def enter(self, comer: T, reason: DisconnectReason) -> bool:
        """Whether there was a place for him."""
        limit, name = self._places[reason]
        if len(self._there[reason]) >= limit:
            self._count("limits", name)
            return False
        self._there[reason].add(comer)
        return True

    def leave(self, goer: T) -> None:
        """Harmless when he is not here."""
        for there in self._there.values():
            there.discard(goer)
