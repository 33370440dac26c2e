"""One ordered, bounded queue between a session and one of its observers.

While the observer is idle a call goes straight through: at 50 frames a second and call, a queue that is only passed
through would be the daemon's main work. Once a method returned a Deferred, later calls wait in order.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from audiohookd.interfaces import IAudioSink, ISession, Lapse
from audiohookd.protocol.events import Gap, GapCause
from audiohookd.runtime import foreign_code

#: Bytes of audio that may wait: 16 s of two channels in PCMU. Beyond, the newest audio becomes a gap.
AUDIO_LIMIT = 262_144
#: Calls other than audio that may wait. Beyond, the observer has lost track and is cut off.
CALL_LIMIT = 1_000
#: Bytes of messages that may wait. A thousand of the largest would be 64 MB.
MESSAGE_LIMIT = 1_048_576
#: The share of both that messages to the client may take: other plugins cause them. What finds no room is left out,
#: and the observer goes on.
OUTGOING_SHARE = 0.5


class MailboxFull(Exception):
    """An observer let more calls pile up than can be kept."""


class NeverDone(Exception):
    """An observer did not come to an end with one of its methods in time."""


class Mailbox:
    """Delivers to ``observer``, in order, never more than one call at a time.

    Not to be called from within ``audio``: its caller sees to that, at less cost.

    :param failed: called with the method and each failure of the observer. After the first one that is no
        :class:`Lapse` it is cut off: it gets nothing more but its ``closed``.
    :param lost: called with the samples of each frame that had to become part of a gap, and of all that waited when
        it was too late for that.
    :param left_out: called for each message to the client that found no room.
    :param plugin: the name of the plugin that ``observer`` is of.
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
        self._pending: Deferred[Any] | None = None  # what the observer is busy with
        self._busy_with = ""  # the method that it is the result of
        self._working = False
        self._alive = True
        self._reason: str | None = None  # once the session has ended
        self._closed = False
        self._straight = True  # audio need not wait: one test per frame
        self._drained: Deferred[None] | None = None
        #: Fires when ``closed`` was delivered and the observer is done with it.
        self.finished: Deferred[None] = Deferred()

    @property
    def is_busy(self) -> bool:
        """The observer is not done with the last call."""
        return self._pending is not None

    def audio(self, frame: bytes) -> None:
        """A frame of audio; only for observers that take it."""
        if not self._straight:
            self._keep_audio(frame)
            return
        try:
            result = self._sink(frame)  # type: ignore[misc]  # only called when takes_audio
        except BaseException:  # the one call that comes too often for foreign_code.call
            self._fail("audio", foreign_code.raised())
            return
        if result is not None:
            self._await("audio", result)

    def call(self, method: str, *arguments: Any) -> None:
        """Any other call."""
        if not self._alive or self._reason is not None:
            return
        if self._pending is None and not self._working:  # then nothing waits
            self._working = True
            self._deliver(method, arguments)
            self._working = False
            if self._waiting or not self._straight or self._drained is not None:  # hardly ever
                self._work()
            return
        calls = len(self._waiting) - self._waiting_frames
        if method == "message" and arguments[0] and self._is_too_full(calls, OUTGOING_SHARE):
            self._left_out()
            return
        if self._is_too_full(calls, 1.0):
            full = MailboxFull(f"{calls} calls wait, {self._waiting_messages} bytes of messages")
            self._cut_off(self._busy_with, Failure(full))
            return
        self._waiting_messages += _message_bytes(method, arguments)
        self._waiting.append((method, arguments))
        self._work()

    def drained(self) -> "Deferred[None]":
        """Fires once when nothing waits and the observer is idle, or cut off."""
        drained: Deferred[None] = Deferred()
        self._drained = drained
        if self._alive:
            self._work()
        else:
            self._tell_drained()
        return drained

    def end(self, reason: str) -> None:
        """Delivers what waits and then ``closed``; takes nothing any more."""
        if self._reason is None:
            self._reason = reason
            self._straight = False
            self._work()

    def hurry(self) -> None:
        """Too late for what waits: it is lost. ``closed`` comes at once, if it has not. Harmless before ``end``."""
        if self._reason is not None:
            samples = sum(self._samples(*call) for call in self._waiting)
            self._forget()
            if samples:
                self._lost(samples)
            if not self._closed:
                self._give_up()
            self._work()

    def abandon(self) -> None:
        """Do not even wait for ``closed``. After ``hurry``."""
        if self._closed and not self.finished.called:
            self._give_up()
            self._finish()

    def expire(self, method: str) -> None:
        """If the observer is busy with ``method``, it had its time: it is cut off."""
        if self._busy_with == method and self._pending is not None:
            self._alive = self._straight = False
            self._forget()
            self._give_up()
            self._tell_drained()
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
        self._straight = self._alive and self._reason is None
        self._tell_drained()  # after which the session may have ended, and the observer be busy again
        if self._pending is None and self._reason is not None and not self._closed:
            self._close(self._reason)

    def _tell_drained(self) -> None:
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
            self._straight = False
            self._pending, self._busy_with = pending, method
            pending.addBoth(self._done, pending)

    def _done(self, outcome: Any, pending: "Deferred[Any]") -> None:
        if self._pending is not pending:  # given up
            return
        if isinstance(outcome, Failure):
            self._fail(self._busy_with, foreign_code.contained(outcome))
        if self._pending is pending:
            self._pending = None
            self._work()
            if self._closed:
                self._finish()

    def _give_up(self) -> None:
        """Cancels what the observer is busy with, if it is. Its result, if one still comes, changes nothing."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._failed(self._busy_with, Failure(NeverDone(self._busy_with)))
            if (failure := foreign_code.cancel(pending)) is not None:
                self._failed(self._busy_with, failure)

    def _fail(self, method: str, failure: Failure) -> None:
        if failure.check(Lapse) or self._closed:
            self._failed(method, failure)
        else:
            self._cut_off(method, failure)

    def _close(self, reason: str) -> None:
        self._closed = True
        self._deliver("closed", (reason,))
        if self._pending is None:
            self._finish()

    def _finish(self) -> None:
        if not self.finished.called:  # else abandoned meanwhile
            self.finished.callback(None)

    # ---- bounds ----------------------------------------------------------------------------------

    def _keep_audio(self, frame: bytes) -> None:
        if not self._alive or self._reason is not None:
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
        """The frame that found no room becomes part of the gap at the end of the queue."""
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
        """Nothing more but ``closed``, and that not before the observer is done with what it is busy with."""
        self._alive = self._straight = False
        self._forget()
        self._failed(method, failure)
        self._tell_drained()
        self._work()

    def _samples(self, method: str, arguments: tuple[Any, ...]) -> int:
        """How much of the call's time a waiting call stands for, as far as that was not told to be lost before."""
        if method == "audio":
            return int(len(arguments[0]) // self._session.media.frame_bytes)
        if method == "gap" and arguments[0].cause is not GapCause.OVERFLOW:
            return int(arguments[0].samples)
        return 0

    def _forget(self) -> None:
        self._waiting.clear()
        self._waiting_audio = self._waiting_frames = self._waiting_messages = 0


def _message_bytes(method: str, arguments: tuple[Any, ...]) -> int:
    return len(arguments[1]) if method == "message" else 0
