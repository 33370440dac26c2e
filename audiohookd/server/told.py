"""Who is refused in a session of his own, and not by a status: that takes a place, for seconds."""

from collections.abc import Callable, Hashable, Mapping
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
        self._there: dict[DisconnectReason, dict[Hashable, T]] = {reason: {} for reason in places}

    def enter(self, comer: T, reason: DisconnectReason, request: Hashable = None) -> bool:
        """Whether there was a place for him. There is one for each ``request``: who makes it again has none."""
        limit, name = self._places[reason]
        there = self._there[reason]
        who = comer if request is None else request
        if len(there) >= limit or who in there:
            self._count("limits", name)
            return False
        there[who] = comer
        return True

    def leave(self, goer: T) -> None:
        """Harmless when he is not here."""
        for there in self._there.values():
            for who in [who for who, comer in there.items() if comer is goer]:
                del there[who]
