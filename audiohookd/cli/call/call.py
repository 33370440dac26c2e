"""One call: drives a :class:`~audiohookd.protocol.client.session.ClientSession` with audio, a clock and a socket."""

from typing import Any, Protocol

from audiohookd.cli.call.pace import WINDOW, Pace
from audiohookd.cli.call.source import Source
from audiohookd.protocol import events
from audiohookd.protocol.client.session import ClientSession


class ICallTransport(Protocol):
    """A WebSocket that is open. What is written after it was closed is dropped."""

    def write_text(self, data: bytes) -> None:
        """Sends a text message."""

    def write_audio(self, data: bytes) -> None:
        """Sends a binary message."""

    def close(self) -> None:
        """Closes it in order, when all is written."""


class CallObserver(Protocol):
    """Who wants to know what becomes of the call."""

    def event_received(self, event: events.Event) -> None:
        """The session told this."""

    def audio_transferred(self, samples: int, is_sent: bool) -> None:
        """The call went on for so many samples (per channel); they were sent, or not."""


class CallSession:
    """Says ``open``, then the audio at its pace, then ``close``.

    :param session: not started yet.
    :param source: None for a probe, which closes as soon as it is open.
    :param speed: how much faster than real time; None for as fast as the server's pongs come back.
    :param max_duration: samples (per channel) after which the call ends, if the source does not end before.
    :param clock: IReactorTime.
    """

    def __init__(
        self,
        session: ClientSession,
        source: Source | None,
        speed: float | None,
        max_duration: int | None,
        clock: Any,
        audience: CallObserver,
    ) -> None:
        self._session = session
        self._source = source
        self._pace = Pace(speed)
        self._end = call_length(source, max_duration)
        self._clock = clock
        self._audience = audience
        self._wire: ICallTransport | None = None
        self._is_held = False
        self._timer: Any = None

    # ---- what the socket says --------------------------------------------------------------------

    def connected(self, wire: ICallTransport) -> None:
        """The WebSocket is open. Once."""
        self._wire = wire
        self._session.start()
        self._settle()

    def received(self, data: bytes, is_binary: bool) -> None:
        """A message came."""
        if is_binary:
            self._session.receive_audio(data)
        else:
            self._session.receive_text(data)
        self._settle()

    def hold(self, is_held: bool) -> None:
        """The socket has more to write than it likes; or that is over."""
        self._is_held = is_held
        if not is_held:
            self._settle()

    def lost(self) -> None:
        """The WebSocket is closed. Nothing happens any more."""
        self._wire = None
        self._session.connection_lost()
        self._settle()

    def hang_up(self) -> None:
        """Ends the call politely; what is left of the audio is not sent."""
        self._session.close("end")
        self._settle()

    # ---- what follows from it --------------------------------------------------------------------

    def _tick(self) -> None:
        self._timer = None
        self._session.tick()
        self._settle()

    def _settle(self) -> None:
        self._tell()
        self._speak()
        self._flush()
        self._tell()
        if self._session.finished and self._wire is not None:
            self._wire.close()
            self._wire = None
        self._arm()

    def _tell(self) -> None:
        while (event := self._session.next_event()) is not None:
            if isinstance(event, events.Opened):
                self._pace.begin(self._clock.seconds())
            self._audience.event_received(event)

    def _speak(self) -> None:
        """Sends the audio that is due; the end of it ends the call."""
        while self._session.is_open and not self._is_held:
            samples = self._next_frame()
            if samples == 0:
                self._session.close("end")
            elif not self._fits(samples):
                self._session.ping()  # its pong proves that the server has read what is on its way
                return
            elif self._frame_due(samples) <= self._clock.seconds():
                self._say(samples)
            else:
                return

    def _next_frame(self) -> int:
        """Samples (per channel) of the next frame, 0 at the end."""
        session = self._session
        samples = self._pace.frame(len(session.media.channels) if session.media else 0, session.paused)
        return samples if self._end is None else max(0, min(samples, self._end - session.position))

    def _frame_due(self, samples: int) -> float:
        return self._pace.due(samples, self._session.paused)

    def _fits(self, samples: int) -> bool:
        return self._session.in_flight + samples <= WINDOW

    def _say(self, samples: int) -> None:
        session = self._session
        self._flush()  # what was said before this audio is to arrive before it
        start = session.position
        self._pace.advance(samples, self._clock.seconds())
        is_sent = session.advance(samples)
        if is_sent and self._source and self._wire and session.media:
            self._wire.write_audio(self._source.read(start, samples, session.media.channels))
        self._audience.audio_transferred(samples, is_sent)

    def _flush(self) -> None:
        for data in self._session.take_outgoing():
            if self._wire is not None:
                self._wire.write_text(data)

    def _arm(self) -> None:
        """One timer for all: the session's deadline and the next frame."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waits = [self._session.next_deadline(), self._next_due()]
        due = min((at for at in waits if at is not None), default=None)
        if due is not None:
            self._timer = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._tick)

    def _next_due(self) -> float | None:
        """When the next frame is due; None while something else than time stops it."""
        if not self._session.is_open or self._is_held:
            return None
        samples = self._next_frame()
        return self._frame_due(samples) if self._fits(samples) else None


def call_length(source: Source | None, max_duration: int | None) -> int | None:
    """Samples (per channel) after which a call ends; None for never. A probe, without a source, has none."""
    if source is None:
        return 0
    limits = (source.samples, max_duration)
    return min((samples for samples in limits if samples is not None), default=None)
