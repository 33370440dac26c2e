"""Keeps text messages to the client within the rates that Genesys Cloud accepts (protocol section 9.1).

Replies (``pong``, ``opened``, ``closed`` ...) and ``disconnect`` never wait; they only use up the budget. Events,
``pause`` and ``resume`` wait for it.
"""

from collections import deque
from typing import Any, Final

from msgspec import Raw, Struct

from audiohookd.protocol import messages
from audiohookd.protocol.sending.rates import Budget, Kind

#: Bytes of entities that may wait in one session: 50 s of the largest rate of a plugin would be 3 MiB.
MAX_WAITING: Final = 262_144


class Waiting(Struct, frozen=True):
    """The entities of one event that waits.

    :param owner: name of the plugin that sent it.
    :param size: bytes of ``encoded``, with a comma after each.
    """

    owner: str
    entities: tuple[Any, ...]
    encoded: tuple[Raw, ...]
    size: int


class TextQueue:
    """Events, ``pause`` and ``resume`` that wait for their budget. Times are in microseconds.

    :param budgets: by kind.
    :param max_entities: bytes of entities, with commas, that fit in one ``event``.
    """

    def __init__(self, budgets: dict[Kind, Budget], max_entities: int) -> None:
        self._budgets = budgets
        self._max_entities = max_entities
        self._events: deque[Waiting] = deque()
        self._waiting_size = 0  # bytes
        self._pause: messages.Pause | messages.Resume | None = None

    @property
    def has_events(self) -> bool:
        """True if events wait."""
        return bool(self._events)

    @property
    def has_waiting(self) -> bool:
        """True if anything waits."""
        return bool(self._events) or self._pause is not None

    def add_event(self, event: Waiting) -> bool:
        """Appends an event. False if too much waits already."""
        if self._waiting_size + event.size > MAX_WAITING:
            return False
        self._events.append(event)
        self._waiting_size += event.size
        return True

    def want_pause(self, wanted: messages.Pause | messages.Resume | None) -> None:
        """Sets the next ``pause`` or ``resume``. It replaces one that still waits: only the last one counts."""
        self._pause = wanted

    def next(self) -> int | None:
        """The time at which ``take`` has something to send; None if nothing waits."""
        times = [self._budgets[Kind.TEXT].ready_at] if self._events else []
        if self._pause is not None:
            times.append(self._budgets[_kind(self._pause)].ready_at)
        return min(times, default=None)

    def take(self, now: int) -> list[messages.Parameters]:
        """Removes and accounts for the messages that may be sent now. Merges events that waited, if they fit."""
        if not self._events and self._pause is None:
            return []
        taken: list[messages.Parameters] = []
        pause, text = self._pause, self._budgets[Kind.TEXT]
        if pause is not None and self._budgets[_kind(pause)].ready_at <= now:
            self._budgets[_kind(pause)].spend(now)
            self._pause = None
            taken.append(pause)
        while self._events and text.ready_at <= now:
            text.spend(now)
            taken.append(messages.Event(self._merged()))
        return taken

    def take_unsent(self) -> list[Waiting]:
        """Removes the events that wait, because the session has ended."""
        unsent = list(self._events)
        self._events.clear()
        self._waiting_size = 0
        return unsent

    def _merged(self) -> tuple[Raw, ...]:
        """The entities of as many events as fit in one message: at least of the first."""
        entities: list[Raw] = []
        size = 0
        while self._events and (not entities or size + self._events[0].size <= self._max_entities):
            event = self._events.popleft()
            self._waiting_size -= event.size
            size += event.size
            entities += event.encoded
        return tuple(entities)


def _kind(pause: messages.Pause | messages.Resume) -> Kind:
    return Kind.PAUSE if isinstance(pause, messages.Pause) else Kind.RESUME
