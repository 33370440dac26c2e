"""Runs the steps of ``doctor``: each has a time limit of its own and a share of the total, and reports one line."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from audiohookd.escaping import printable

T = TypeVar("T")

#: Seconds for all steps together.
TOTAL = 20.0


class State(StrEnum):
    """The result of a step. A note is not a failure, but the user should read it."""

    OK = "ok"
    NOTE = "note"
    FAILED = "failed"
    SKIPPED = "skipped"


class ActivationError(StrEnum):
    """The error that Genesys Cloud would show on activation of the integration. Its own words are in quotes."""

    PRIVATE_AUTHORITY = "it would not connect: it trusts only public certificate authorities, not --ca"
    ADDRESS = "it accepts only wss:// and only port 443"
    CONNECTION = 'it would report something like "WebSocket connection failed"'
    UNAUTHORIZED = "the server rejects this key and secret"
    LATE = "it waits 5 s for opened, then times out with error 408"
    MALFORMED = 'it would report something like "Received a malformed server message"'
    DISCONNECTED = "the server ended the session by itself"
    UNCLOSED = 'it would report something like "Close transaction timed out"'


class StepFailed(Exception):
    """A step failed, and the steps after it cannot run. The text is for the user."""

    def __init__(self, text: str, complaint: ActivationError = ActivationError.CONNECTION) -> None:
        super().__init__(text)
        self.complaint = complaint


@dataclass(frozen=True)
class Done(Generic[T]):
    """The result of a step after which the next one can run.

    With a ``complaint`` Genesys Cloud would still not activate the integration.
    """

    value: T
    text: str
    state: State = State.OK
    complaint: ActivationError | None = None
    #: A condition of the verdict that this machine cannot check.
    condition: str = ""


class Deadline:
    """The time at which a step times out."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self._at = clock() + seconds

    def left(self) -> float:
        """Seconds until the deadline.

        :raises TimeoutError: the deadline has passed.
        """
        left = self._at - self._clock()
        if left <= 0:
            raise TimeoutError
        return left


class StepRunner:
    """Runs steps one after the other, and collects their complaints and conditions.

    :param write_line: receives one line per step, without a newline.
    :param clock: monotonic clock, in seconds.
    :param total: seconds for all steps together.
    """

    def __init__(self, write_line: Callable[[str], None], clock: Callable[[], float], total: float = TOTAL) -> None:
        self.complaints: list[ActivationError] = []
        self.conditions: list[str] = []
        self._write_line = write_line
        self._clock = clock
        self._end = Deadline(clock, total)

    def step(self, name: str, limit: float, do: Callable[[Deadline], Done[T]]) -> T:
        """Runs one step, for at most ``limit`` seconds, and returns its value.

        :raises StepFailed: the step failed. Its line has been written.
        """
        began = self._clock()
        try:
            done = do(Deadline(self._clock, min(limit, self._end.left())))
        except (StepFailed, TimeoutError, OSError) as error:
            failure = error if isinstance(error, StepFailed) else StepFailed(_describe(error))
            self._report(name, State.FAILED, str(failure), self._clock() - began)
            self.complaints.append(failure.complaint)
            raise failure from None
        self._report(name, done.state, done.text, self._clock() - began)
        if done.complaint is not None:
            self.complaints.append(done.complaint)
        if done.condition:
            self.conditions.append(done.condition)
        return done.value

    def skip(self, name: str, reason: str) -> None:
        """Reports a step that does not run."""
        self._report(name, State.SKIPPED, reason, None)

    def _report(self, name: str, state: State, text: str, seconds: float | None) -> None:
        took = "" if seconds is None else f"{seconds:.3f} s"
        self._write_line(printable(f"{name:<10} {state:<7} {took:>8}  {text}"))


def _describe(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return error.strerror or str(error) or type(error).__name__
