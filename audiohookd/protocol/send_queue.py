"""Keeps messages to the client within the rates that Genesys Cloud accepts (protocol section 9.1).

Replies (``pong``, ``opened``, ``closed`` ...) and ``disconnect`` never wait; they only use up the budget. Events,
``pause`` and ``resume`` wait for it.
"""

import re
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Annotated, Any, Final

from msgspec import Meta, Raw, Struct

from audiohookd.protocol import messages

#: Bytes of entities that may wait in one session: 50 s of the largest rate of a plugin would be 3 MiB.
MAX_WAITING: Final = 262_144

_MICROSECONDS: Final = 1_000_000

_PerSecond = Annotated[float, Meta(gt=0, le=1000)]
_Burst = Annotated[int, Meta(ge=1, le=10_000)]


class SendRates(Struct, frozen=True, forbid_unknown_fields=True):
    """Messages per second in the long run, and at once, to one client. The defaults are Genesys' published limits."""

    text_per_second: _PerSecond = 5.0
    text_burst: _Burst = 25
    audio_per_second: _PerSecond = 5.0
    audio_burst: _Burst = 25
    pause_per_second: _PerSecond = 2.0
    pause_burst: _Burst = 4
    resume_per_second: _PerSecond = 2.0
    resume_burst: _Burst = 4


class Kind(Enum):
    """The kinds of messages that have a budget each."""

    TEXT = auto()
    AUDIO = auto()
    PAUSE = auto()
    RESUME = auto()


class Budget:
    """A token bucket that may be overdrawn. Times are whole microseconds: sums of floats allowed 24 messages of 25.

    :param now: a monotonic clock, in microseconds.
    """

    __slots__ = ("_full_at", "_held_until", "_interval", "_tolerance")

    def __init__(self, per_second: float, burst: int, now: int) -> None:
        self._interval = round(_MICROSECONDS / per_second)
        self._tolerance = (burst - 1) * self._interval
        self._full_at = self._held_until = now

    @property
    def ready_at(self) -> int:
        """The time from which a message may be sent."""
        return max(self._full_at - self._tolerance, self._held_until)

    def spend(self, now: int) -> None:
        """Accounts for a message, also if there is no token."""
        self._full_at = max(self._full_at, now) + self._interval

    def hold(self, until: int) -> None:
        """Allows no message before ``until``. A later time from an earlier call remains."""
        self._held_until = max(self._held_until, until)


class Waiting(Struct, frozen=True):
    """The entities of one event that waits.

    :param owner: name of the plugin that sent it.
    :param size: bytes of ``encoded``, with a comma after each.
    """

    owner: str
    entities: tuple[Any, ...]
    encoded: tuple[Raw, ...]
    size: int


class SendQueue:
    """Events, ``pause`` and ``resume`` that wait for their budget.

    :param now: a monotonic clock, in seconds.
    :param max_entities: bytes of entities, with commas, that fit in one ``event``.
    """

    def __init__(self, rates: SendRates, now: Callable[[], float], max_entities: int) -> None:
        self._clock = now
        self._max_entities = max_entities
        at = self._now()
        self._budgets = {
            Kind.TEXT: Budget(rates.text_per_second, rates.text_burst, at),
            Kind.AUDIO: Budget(rates.audio_per_second, rates.audio_burst, at),
            Kind.PAUSE: Budget(rates.pause_per_second, rates.pause_burst, at),
            Kind.RESUME: Budget(rates.resume_per_second, rates.resume_burst, at),
        }
        self._events: deque[Waiting] = deque()
        self._waiting_size = 0  # bytes
        self._pause: messages.Pause | messages.Resume | None = None

    @property
    def has_events(self) -> bool:
        """True if events wait."""
        return bool(self._events)

    def spend(self, kind: Kind) -> None:
        """Accounts for a message that did not wait."""
        self._budgets[kind].spend(self._now())

    def hold(self, kinds: "tuple[Kind, ...]", seconds: float) -> None:
        """Holds back messages of ``kinds``, because the client sent error 429 with ``retryAfter``."""
        for kind in kinds:
            self._budgets[kind].hold(self._now() + round(seconds * _MICROSECONDS))

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

    def next(self) -> float | None:
        """The time at which ``take`` has something to send; None if nothing waits."""
        times = [self._budgets[Kind.TEXT].ready_at] if self._events else []
        if self._pause is not None:
            times.append(self._budgets[_kind(self._pause)].ready_at)
        return min(times) / _MICROSECONDS if times else None

    def take(self) -> list[messages.Parameters]:
        """Removes and accounts for the messages that may be sent now. Merges events that waited, if they fit."""
        if not self._events and self._pause is None:
            return []
        now = self._now()
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

    def _now(self) -> int:
        """The time in microseconds."""
        return round(self._clock() * _MICROSECONDS)

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


def limited_kinds(message: str) -> tuple[Kind, ...]:
    """The kinds that an ``error`` 429 holds back, by its text; all kinds if it names none."""
    words = frozenset(re.findall(r"[a-z]+", message.lower()))
    named = tuple(kind for kind, names in _NAMES.items() if words & names)
    return named or tuple(Kind)


#: The words by which the text of an ``error`` 429 may name a kind.
_NAMES: Final = {
    Kind.TEXT: frozenset({"text", "event", "events"}),
    Kind.AUDIO: frozenset({"audio", "binary"}),
    Kind.PAUSE: frozenset({"pause", "pauses"}),
    Kind.RESUME: frozenset({"resume", "resumes"}),
}
