"""One observer behind its mailbox, and what it does with its calls."""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from audiohookd.interfaces import PartialLoss
from audiohookd.protocol.events import Gap, GapCause
from audiohookd.session.observer_queue import AUDIO_LIMIT, ObserverQueue
from audiohookd.testing import CapturingSink, FakeSession
from tests.websocket.server_rig import assert_tiles

START_POSITION = 4000
FRAME = b"\xff" * 320  # 160 samples of two channels
BIG = b"\xff" * 64_000
OVERFLOWING = AUDIO_LIMIT // len(BIG) + 1


class Call:
    """A session with one observer queue for its audio.

    ``answers`` says what the observer does with its next calls: ``done``, ``fired`` or ``later`` (Deferreds),
    ``coroutine``, ``raise``, ``fail`` (later), ``failed`` (at once); and, losing a part but going on, ``lapse``,
    ``lapse-later``, ``lapsed`` (a Deferred that failed at once).
    """

    def __init__(self, *answers: str) -> None:
        self.session = FakeSession()
        self.session.position = START_POSITION
        self.sink = CapturingSink(self._act)
        self.failures: list[BaseException | None] = []
        self.failed_in: list[str] = []
        self.told_until_failure = 0
        self.when_failed: Callable[[], None] = lambda: None
        self.disturbed = False
        self.lost = 0
        self.pending: deque[tuple[Deferred[None], Exception | None]] = deque()
        self._answers: Iterator[str] = cycle(answers or ("done",))
        self.mailbox = ObserverQueue(self.sink, self.session, self._failed, self._lost)

    def audio(self, frame: bytes = FRAME) -> None:
        self.session.position += len(frame) // 2
        self.mailbox.audio(frame)

    def gap(self, samples: int = 800) -> None:
        gap = Gap(self.session.position, samples, GapCause.PAUSED)
        self.session.position += samples
        self.mailbox.call("gap", gap)

    def fire(self) -> None:
        """The observer is done with what it is busy with."""
        result, failure = self.pending.popleft()
        if failure is not None:
            result.errback(failure)
        else:
            result.callback(None)

    def fire_all(self) -> None:
        while self.pending:
            self.fire()

    def tiled(self) -> int:
        assert not self.disturbed, "called while it was busy"
        return assert_tiles(self.sink, START_POSITION, 2)

    def _failed(self, method: str, failure: Failure) -> None:
        self.failed_in.append(method)
        if all(isinstance(before, PartialLoss) for before in self.failures):
            self.told_until_failure = len(self.sink.calls)
        self.failures.append(failure.value)
        self.when_failed()

    def _lost(self, samples: int) -> None:
        self.lost += samples

    def _act(self, *_: Any) -> Any:
        # Not an assertion: the mailbox would take it for a failure of the observer.
        self.disturbed = self.disturbed or bool(self.pending)
        answer = next(self._answers)
        failure = PartialLoss(answer) if answer.startswith("lapse") else RuntimeError(answer)
        match answer:
            case "fired":
                return succeed(None)
            case "raise" | "lapse":
                raise failure
            case "failed" | "lapsed":
                return fail(failure)
            case "coroutine":
                return self._coroutine()
            case "later":
                return self._later()
            case "fail" | "lapse-later":
                return self._later(failure)
        return None

    def _later(self, failure: Exception | None = None) -> "Deferred[None]":
        result: Deferred[None] = Deferred()
        self.pending.append((result, failure))
        return result

    async def _coroutine(self) -> None:
        await self._later()
