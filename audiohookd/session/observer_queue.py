"""An ordered, bounded queue between a session and one of its observers.

While the observer is idle, calls bypass the queue: at 50 frames per second and call, queueing each frame would be the
daemon's main work. While a Deferred of the observer is pending, later calls wait in order.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from audiohookd.interfaces import IAudioSink, ISession, PartialLoss
from audiohookd.protocol.events import Gap, GapCause
from audiohookd.runtime import foreign_code

#: Bytes of audio that may wait: 16 s of two channels in PCMU. Further audio becomes a gap.
AUDIO_LIMIT = 262_144
#: Calls other than audio that may wait. One more cuts the observer off, because it would miss events.
CALL_LIMIT = 1_000
#: Bytes of messages that may wait. A thousand of the largest would be 64 MB.
MESSAGE_LIMIT = 1_048_576
#: Share of both limits for messages to the client, which other plugins cause. Further messages are dropped; the
#: observer is not cut off.
OUTGOING_SHARE = 0.5


class State(Enum):
    """What an observer still receives. The states follow each other; CUT_OFF is optional."""

    #: All calls.
    OPEN = 1
    #: Only ``closed``, when the session ends, because a call failed.
    CUT_OFF = 2
    #: The session has ended: the waiting calls, then ``closed``.
    ENDING = 3
    #: ``closed`` was called.
    CLOSED = 4


class ObserverQueueFull(Exception):
    """Too many calls wait for an observer."""


class ObserverTimeout(Exception):
    """A method of an observer timed out."""


class ObserverQueue:
    """Delivers calls to ``observer`` in order, one at a time.

    Its methods must not be called from within ``audio``; the caller ensures this at lower cost.

    :param failed: called with the method and each failure of the observer. After the first failure that is not a
        :class:`PartialLoss`, the observer is cut off: it receives only ``closed``.
    :param lost: called with the number of samples of each frame that became part of a gap, and of the audio that was
        waiting when the queue was dropped.
    :param left_out: called for each message to the client that was dropped.
    :param plugin: name of the observer's plugin.
    """

    def __init__(
        self,
        observer: Any,
        session: ISession,
        failed: Callable[[str, Failure], None],
        lost: Callable[[int], None],
        left_out: Callable[[], None] = lambda: None,
        plugin: str = "",
    ) -> None:
        self.plugin = plugin
        self._observer = observer
        self._session = session
        self._failed = failed
        self._lost = lost
        self._left_out = left_out
        self.takes_audio = IAudioSink.providedBy(observer)
        self._sink = observer.audio if self.takes_audio else None
        self._waiting: deque[tuple[str, tuple[Any, ...]]] = deque()
        self._waiting_audio = 0  # bytes
        self._waiting_frames = 0
        self._waiting_messages = 0  # bytes
        self._pending: Deferred[Any] | None = None  # the unfinished call of the observer
        self._busy_with = ""  # its method
        self._working = False
        self._state = State.OPEN
        self._reason = ""  # of the end of the session
        self._direct = True  # OPEN and idle, so that audio bypasses the queue: one test per frame
        self._drained: Deferred[None] | None = None
        #: Fires when the observer has finished ``closed``.
        self.finished: Deferred[None] = Deferred()

    @property
    def is_busy(self) -> bool:
        """True while a call of the observer is unfinished."""
        return self._pending is not None

    def audio(self, frame: bytes) -> None:
        """Delivers a frame of audio. Only for observers that are sinks."""
        if not self._direct:
            self._keep_audio(frame)
            return
        try:
            result = self._sink(frame)  # type: ignore[misc]  # only called when takes_audio
        except BaseException:  # too frequent for foreign_code.call
            self._fail("audio", foreign_code.raised())
            return
        if result is not None:
            self._await("audio", result)

    def call(self, method: str, *arguments: Any) -> None:
        """Delivers any other call."""
        if self._state is not State.OPEN:
            return
        if self._pending is None and not self._working:  # the queue is empty
            self._working = True
            self._deliver(method, arguments)
            self._working = False
            if self._waiting or not self._direct or self._drained is not None:  # rare
                self._work()
            return
        calls = len(self._waiting) - self._waiting_frames
        if method == "message" and arguments[0] and self._is_too_full(calls, OUTGOING_SHARE):
            self._left_out()
            return
        if self._is_too_full(calls, 1.0):
            full = ObserverQueueFull(f"{calls} calls wait, {self._waiting_messages} bytes of messages")
            self._cut_off(self._busy_with, Failure(full))
            return
        self._waiting_messages += _message_bytes(method, arguments)
        self._waiting.append((method, arguments))
        self._work()

    def drained(self) -> "Deferred[None]":
        """Returns a Deferred that fires when the queue is empty and the observer is idle or cut off."""
        drained: Deferred[None] = Deferred()
        self._drained = drained
        if self._state is State.CUT_OFF:
            self._fire_drained()
        else:
            self._work()
        return drained

    def end(self, reason: str) -> None:
        """Accepts no more calls; delivers the waiting calls and then ``closed``."""
        if self._state in (State.OPEN, State.CUT_OFF):
            self._state, self._reason, self._direct = State.ENDING, reason, False
            self._work()

    def drop_pending(self) -> None:
        """Drops the waiting calls and delivers ``closed`` at once, if it was not. Has no effect before ``end``."""
        if self._state in (State.ENDING, State.CLOSED):
            samples = sum(self._samples(*call) for call in self._waiting)
            self._clear()
            if samples:
                self._lost(samples)
            if self._state is State.ENDING:
                self._cancel_pending()
            self._work()

    def force_finish(self) -> None:
        """Cancels an unfinished ``closed``. Call it after ``drop_pending``."""
        if self._state is State.CLOSED and not self.finished.called:
            self._cancel_pending()
            self._finish()

    def expire(self, method: str) -> None:
        """Times out ``method``: cuts the observer off if this call is unfinished."""
        if self._busy_with == method and self._pending is not None:
            self._accept_no_more()
            self._cancel_pending()
            self._fire_drained()
            self._work()

    # ---- delivery --------------------------------------------------------------------------------

    def _work(self) -> None:
        if self._working:
            return
        self._working = True
        while self._waiting and self._pending is None:
            method, arguments = self._waiting.popleft()
            if method == "audio":
                self._waiting_audio -= len(arguments[0])
                self._waiting_frames -= 1
            else:
                self._waiting_messages -= _message_bytes(method, arguments)
            self._deliver(method, arguments)
        self._working = False
        if self._pending is None:
            self._when_idle()

    def _when_idle(self) -> None:
        self._direct = self._state is State.OPEN
        self._fire_drained()  # its callback may end the session or make the observer busy
        if self._pending is None and self._state is State.ENDING:
            self._close()

    def _fire_drained(self) -> None:
        if self._drained is not None:
            drained, self._drained = self._drained, None
            drained.callback(None)

    def _deliver(self, method: str, arguments: tuple[Any, ...]) -> None:
        result = foreign_code.call_method(self._observer, method, *arguments)
        if result is not None:
            self._await(method, result)

    def _await(self, method: str, result: Any) -> None:
        pending = foreign_code.call(foreign_code.deferred_of, result)
        failure = pending or result
        if isinstance(failure, Failure):
            self._fail(method, failure)
        elif pending is not None:
            self._direct = False
            self._pending, self._busy_with = pending, method
            pending.addBoth(self._done, pending)

    def _done(self, outcome: Any, pending: "Deferred[Any]") -> None:
        if self._pending is not pending:  # it was cancelled
            return
        if isinstance(outcome, Failure):
            self._fail(self._busy_with, foreign_code.contained(outcome))
        if self._pending is pending:
            self._pending = None
            self._work()
            if self._state is State.CLOSED:
                self._finish()

    def _cancel_pending(self) -> None:
        """Cancels the unfinished call of the observer, if there is one. A late result is ignored."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._failed(self._busy_with, Failure(ObserverTimeout(self._busy_with)))
            if (failure := foreign_code.cancel(pending)) is not None:
                self._failed(self._busy_with, failure)

    def _fail(self, method: str, failure: Failure) -> None:
        if failure.check(PartialLoss) or self._state is State.CLOSED:
            self._failed(method, failure)
        else:
            self._cut_off(method, failure)

    def _close(self) -> None:
        self._state = State.CLOSED
        self._deliver("closed", (self._reason,))
        if self._pending is None:
            self._finish()

    def _finish(self) -> None:
        if not self.finished.called:  # force_finish may have been called before
            self.finished.callback(None)

    # ---- bounds ----------------------------------------------------------------------------------

    def _keep_audio(self, frame: bytes) -> None:
        if self._state is not State.OPEN:
            return
        if self._waiting_audio + len(frame) <= AUDIO_LIMIT and self._waiting_frames < CALL_LIMIT:
            self._waiting_audio += len(frame)
            self._waiting_frames += 1
            self._waiting.append(("audio", (frame,)))
            return
        samples = len(frame) // self._session.media.frame_bytes
        self._widen_gap(samples)
        self._lost(samples)

    def _widen_gap(self, samples: int) -> None:
        """Adds a dropped frame to the gap at the end of the queue."""
        start = self._session.position - samples
        if self._waiting and self._waiting[-1][0] == "gap":
            before: Gap = self._waiting[-1][1][0]
            if before.cause is GapCause.OVERFLOW:
                self._waiting.pop()
                start, samples = before.start, before.samples + samples
        self._waiting.append(("gap", (Gap(start, samples, GapCause.OVERFLOW),)))

    def _is_too_full(self, calls: int, share: float) -> bool:
        return calls >= CALL_LIMIT * share or self._waiting_messages > MESSAGE_LIMIT * share

    def _cut_off(self, method: str, failure: Failure) -> None:
        """Drops the waiting calls. After its unfinished call the observer receives only ``closed``."""
        self._accept_no_more()
        self._failed(method, failure)
        self._fire_drained()
        self._work()

    def _accept_no_more(self) -> None:
        if self._state is State.OPEN:
            self._state = State.CUT_OFF
        self._direct = False
        self._clear()

    def _samples(self, method: str, arguments: tuple[Any, ...]) -> int:
        """Number of samples (per channel) of a waiting call, without those already reported as lost."""
        if method == "audio":
            return int(len(arguments[0]) // self._session.media.frame_bytes)
        if method == "gap" and arguments[0].cause is not GapCause.OVERFLOW:
            return int(arguments[0].samples)
        return 0

    def _clear(self) -> None:
        self._waiting.clear()
        self._waiting_audio = self._waiting_frames = self._waiting_messages = 0


def _message_bytes(method: str, arguments: tuple[Any, ...]) -> int:
    return len(arguments[1]) if method == "message" else 0
