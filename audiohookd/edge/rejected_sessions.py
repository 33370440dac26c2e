"""Who is refused in a session of his own, and not by a status: that takes a place, for seconds."""

from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

from audiohookd.protocol.messages import DisconnectReason

T = TypeVar("T")


class RejectedSessionSlots(Generic[T]):
    """So many at a time, for each reason that they are told.

    :param places: how many, and what the limit is called.
    :param count: counts by name and label.
    """

    def __init__(self, limits: Mapping[DisconnectReason, tuple[int, str]], count: Callable[..., object]) -> None:
        self._limits = limits
        self._count = count
        self._held: dict[DisconnectReason, dict[Hashable, T]] = {reason: {} for reason in limits}

    def acquire(self, connection: T, reason: DisconnectReason, request: Hashable = None) -> bool:
        """Whether there was a place for him. There is one for each ``request``: who makes it again has none."""
        limit, name = self._limits[reason]
        held = self._held[reason]
        key = connection if request is None else request
        if len(held) >= limit or key in held:
            self._count("limit_hits", name)
            return False
        held[key] = connection
        return True

    def release(self, connection: T) -> None:
        """Harmless when he is not here."""
        for held in self._held.values():
            for who in [who for who, comer in held.items() if comer is connection]:
                del held[who]
