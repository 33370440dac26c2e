"""The rates at which Genesys Cloud accepts messages (protocol section 9.1)."""

import re
from enum import Enum, auto
from typing import Annotated, Final

from msgspec import Meta, Struct

#: Microseconds of a second.
MICROSECONDS: Final = 1_000_000

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
        self._interval = round(MICROSECONDS / per_second)
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
