"""Drives the client session of one call: connects it to the audio, the clock and the WebSocket."""

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from audiohookd.cli.call.options import KeyPress
from audiohookd.cli.call.source import Recording
from audiohookd.protocol import events
from audiohookd.protocol.client.session import RATE, ClientSession
from audiohookd.protocol.codec import MAX_SENT


class ICallTransport(Protocol):
    """An open WebSocket. Messages written after it is closed are dropped."""

    def write_text(self, data: bytes) -> None:
        """Sends a text message."""

    def write_audio(self, data: bytes) -> None:
        """Sends a binary message."""

    def close(self) -> None:
        """Writes all pending messages, then performs the closing handshake."""


class CallObserver(Protocol):
    """Receives the events and the progress of a call."""

    def event_received(self, event: events.Event) -> None:
        """The session reported an event."""

    def audio_transferred(self, samples: int, is_sent: bool) -> None:
        """The call advanced by ``samples`` per channel. Without ``is_sent`` a pause dropped them."""


class CallSession:
    """Sends ``open``, then the audio at its pace, then ``close``.

    :param session: not started yet.
    :param source: None for a probe, which closes as soon as the session is open.
    :param speed: factor of real time; None: as fast as the server's pongs arrive.
    :param max_duration: samples per channel after which the call ends, unless the source ends before.
    :param clock: IReactorTime.
    :param keys: the keys that the caller presses, in order.
    """

    def __init__(
        self,
        session: ClientSession,
        source: Recording | None,
        speed: float | None,
        max_duration: int | None,
        clock: Any,
        observer: CallObserver,
        keys: Sequence[KeyPress] = (),
    ) -> None:
        self._session = session
        self._source = source
        self._pace = Pace(speed)
        self._end = call_length(source, max_duration)
        self._clock = clock
        self._observer = observer
        self._transport: ICallTransport | None = None
        self._is_held = False
        self._timer: Any = None
        self._keys = deque(keys)
        self._opened_at = 0.0

    # ---- input from the WebSocket ----------------------------------------------------------------

    def connected(self, transport: ICallTransport) -> None:
        """The WebSocket is open. Called once."""
        self._transport = transport
        self._session.start()
        self._settle()

    def received(self, data: bytes, is_binary: bool) -> None:
        """A message arrived."""
        if is_binary:
            self._session.receive_audio(data)
        else:
            self._session.receive_text(data)
        self._settle()

    def hold(self, is_held: bool) -> None:
        """Stops or restarts the audio because the write buffer of the WebSocket is full, or is empty again."""
        self._is_held = is_held
        if not is_held:
            self._settle()

    def lost(self) -> None:
        """The WebSocket is closed. No other method is called after this one."""
        self._transport = None
        self._session.connection_lost()
        self._settle()

    def hang_up(self) -> None:
        """Ends the call with ``close``. The rest of the audio is not sent."""
        self._session.close("end")
        self._settle()

    # ---- output ----------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._timer = None
        self._session.tick()
        self._settle()

    def _settle(self) -> None:
        self._report_events()
        self._press_due_keys()
        self._send_due_audio()
        self._flush()
        self._report_events()
        if self._session.finished and self._transport is not None:
            self._transport.close()
            self._transport = None
        self._arm()

    def _report_events(self) -> None:
        while (event := self._session.next_event()) is not None:
            if isinstance(event, events.Opened):
                self._opened_at = self._clock.seconds()
                self._pace.begin(self._opened_at)
            self._observer.event_received(event)

    def _press_due_keys(self) -> None:
        while self._session.is_open and self._keys and self._key_due() <= self._clock.seconds():
            self._session.dtmf(self._keys.popleft().key)

    def _key_due(self) -> float:
        return self._opened_at + self._keys[0].seconds

    def _send_due_audio(self) -> None:
        """Sends the audio that is due. Closes the session at the end of the audio."""
        while self._session.is_open and not self._is_held:
            samples = self._next_frame()
            if samples == 0:
                self._session.close("end")
            elif not self._fits(samples):
                self._session.ping()  # its pong proves that the server has read the audio before it
                return
            elif self._frame_due(samples) <= self._clock.seconds():
                self._send_frame(samples)
            else:
                return

    def _next_frame(self) -> int:
        """Samples per channel of the next frame, 0 at the end."""
        session = self._session
        samples = self._pace.frame(len(session.media.channels) if session.media else 0, session.paused)
        return samples if self._end is None else max(0, min(samples, self._end - session.position))

    def _frame_due(self, samples: int) -> float:
        return self._pace.due(samples, self._session.paused)

    def _fits(self, samples: int) -> bool:
        return self._session.in_flight + samples <= WINDOW

    def _send_frame(self, samples: int) -> None:
        session = self._session
        self._flush()  # messages of the session must arrive before the audio that follows them
        start = session.position
        self._pace.advance(samples, self._clock.seconds())
        is_sent = session.advance(samples)
        if is_sent and self._source and self._transport and session.media:
            self._transport.write_audio(self._source.read(start, samples, session.media.channels))
        self._observer.audio_transferred(samples, is_sent)

    def _flush(self) -> None:
        for data in self._session.take_outgoing():
            if self._transport is not None:
                self._transport.write_text(data)

    def _arm(self) -> None:
        """Sets the one timer to the session's deadline or the next frame, whichever is first."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waits = [self._session.next_deadline(), self._next_due()]
        if self._keys and self._session.is_open:
            waits.append(self._key_due())
        due = min((at for at in waits if at is not None), default=None)
        if due is not None:
            self._timer = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._tick)

    def _next_due(self) -> float | None:
        """The time at which the next frame is due. None while a full buffer or a missing pong holds it back."""
        if not self._session.is_open or self._is_held:
            return None
        samples = self._next_frame()
        return self._frame_due(samples) if self._fits(samples) else None


def call_length(source: Recording | None, max_duration: int | None) -> int | None:
    """Samples per channel after which a call ends. None: never. 0 for a probe, which has no source."""
    if source is None:
        return 0
    limits = (source.samples, max_duration)
    return min((samples for samples in limits if samples is not None), default=None)


#: Samples per channel in a frame: 200 ms, as Genesys Cloud sends.
FRAME = RATE // 5
#: Maximum samples per channel in flight: sent, but not yet proven read by a pong. 8 s.
WINDOW = 8 * RATE


class Pace:
    """The schedule of the frames of a call, in absolute time: a late frame does not delay the next ones.

    :param speed: factor of real time; None: as fast as possible, in frames of maximum size. During a pause the call
        advances in real time even then, because otherwise the audio would end before the server resumes it.
    """

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._origin = 0.0
        self._samples = 0  # since the origin

    def begin(self, now: float) -> None:
        """Starts the schedule at ``now``."""
        self._origin = now

    def frame(self, channels: int, paused: bool) -> int:
        """Samples per channel of the next frame."""
        return FRAME if self._is_timed(paused) else MAX_SENT // max(channels, 1)

    def due(self, samples: int, paused: bool) -> float:
        """The time at which a frame of ``samples`` is due: its end, when the last sample has been spoken."""
        if not self._is_timed(paused):
            return self._origin
        return self._origin + (self._samples + samples) / (RATE * (self._speed or 1))

    def advance(self, samples: int, now: float) -> None:
        """Counts a frame that was sent, or dropped during a pause."""
        if self._speed is None:
            self._origin, self._samples = now, 0
        else:
            self._samples += samples

    def _is_timed(self, paused: bool) -> bool:
        return paused or self._speed is not None
