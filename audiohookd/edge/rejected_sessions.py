"""Bounds the sessions that exist only to send a rejected client its ``disconnect``, which takes seconds."""

from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

from audiohookd.protocol.messages import DisconnectReason

T = TypeVar("T")


class RejectedSessionSlots(Generic[T]):
    """Caps, per disconnect reason, how many rejected clients may hold a session.

    :param limits: for each reason the cap, and the label of its counter.
    :param count: counts by name and label.
    """

    def __init__(self, limits: Mapping[DisconnectReason, tuple[int, str]], count: Callable[..., object]) -> None:
        self._limits = limits
        self._count = count
        self._held: dict[DisconnectReason, dict[Hashable, T]] = {reason: {} for reason in limits}

    def acquire(self, connection: T, reason: DisconnectReason, request: Hashable = None) -> bool:
        """Takes a slot for a connection, and returns whether one was free.

        :param request: identifies the request. A repeated request gets no second slot.
        """
        limit, name = self._limits[reason]
        held = self._held[reason]
        key = connection if request is None else request
        if len(held) >= limit or key in held:
            self._count("limit_hits", name)
            return False
        held[key] = connection
        return True

    def release(self, connection: T) -> None:
        """Frees the slot of a connection, if it has one."""
        for held in self._held.values():
            for key in [key for key, holder in held.items() if holder is connection]:
                del held[key]
