"""The steps of an examination: each is timed, told on a line of its own, and held to its limit and to that of all."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from audiohookd.escaping import printable

T = TypeVar("T")

#: Seconds for everything.
TOTAL = 20.0


class State(StrEnum):
    """How a step went. A note is no failure, but should be read."""

    OK = "ok"
    NOTE = "note"
    FAILED = "failed"
    SKIPPED = "skipped"


class Complaint(StrEnum):
    """What Genesys Cloud would say when somebody activates the integration. Its own words are in quotes."""

    PRIVATE_AUTHORITY = "it would not connect, for it trusts public certificate authorities only, not one of --ca"
    ADDRESS = "it takes no such address: only wss://, and only port 443"
    CONNECTION = 'it would say something like "WebSocket connection failed"'
    UNAUTHORIZED = "the server lets nobody in with this key and secret"
    LATE = "it waits 5 s for opened, and then gives up with error 408"
    MALFORMED = 'it would say something like "Received a malformed server message"'
    DISCONNECTED = "the server ended the session by itself"
    UNCLOSED = 'it would say something like "Close transaction timed out"'


class Trouble(Exception):
    """A step failed, and what comes after it has no sense. Its text is for the user."""

    def __init__(self, text: str, complaint: Complaint = Complaint.CONNECTION) -> None:
        super().__init__(text)
        self.complaint = complaint


@dataclass(frozen=True)
class Done(Generic[T]):
    """A step that gave something to go on with; it may have failed for Genesys Cloud all the same."""

    value: T
    text: str
    state: State = State.OK
    complaint: Complaint | None = None
    #: A condition of the verdict that cannot be checked from here.
    condition: str = ""


class Deadline:
    """A moment after which a step is over."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self._at = clock() + seconds

    def left(self) -> float:
        """Seconds until then.

        :raises TimeoutError: none.
        """
        left = self._at - self._clock()
        if left <= 0:
            raise TimeoutError
        return left


class Examination:
    """Does steps one after the other.

    :param say: takes a line.
    :param clock: monotonic, in seconds.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float], total: float = TOTAL) -> None:
        self.complaints: list[Complaint] = []
        self.conditions: list[str] = []
        self._say = say
        self._clock = clock
        self._end = Deadline(clock, total)

    def step(self, name: str, limit: float, do: Callable[[Deadline], Done[T]]) -> T:
        """Does one, with at most ``limit`` seconds.

        :raises Trouble: it failed, and that has been told.
        """
        began = self._clock()
        try:
            done = do(Deadline(self._clock, min(limit, self._end.left())))
        except (Trouble, TimeoutError, OSError) as fault:
            trouble = fault if isinstance(fault, Trouble) else Trouble(_plain(fault))
            self._tell(name, State.FAILED, str(trouble), self._clock() - began)
            self.complaints.append(trouble.complaint)
            raise trouble from None
        self._tell(name, done.state, done.text, self._clock() - began)
        if done.complaint is not None:
            self.complaints.append(done.complaint)
        if done.condition:
            self.conditions.append(done.condition)
        return done.value

    def skip(self, name: str, why: str) -> None:
        """Tells of one that is not done."""
        self._tell(name, State.SKIPPED, why, None)

    def _tell(self, name: str, state: State, text: str, seconds: float | None) -> None:
        took = "" if seconds is None else f"{seconds:.3f} s"
        self._say(printable(f"{name:<10} {state:<7} {took:>8}  {text}"))


def _plain(fault: OSError) -> str:
    if isinstance(fault, TimeoutError):
        return "no answer in time"
    return fault.strerror or str(fault) or type(fault).__name__
