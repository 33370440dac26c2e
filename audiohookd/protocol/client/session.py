"""The client's side of one AudioHook session, without I/O. It behaves like Genesys Cloud, for tests and load.

It has the methods of :mod:`audiohookd.protocol.session`, and its driver has the same duties: after every call, send
all messages of ``take_outgoing``, deliver all events of ``next_event``, close the WebSocket if ``finished``, and call
``tick`` at ``next_deadline``. A protocol error of the server never raises: the session sends ``error`` and ``close``
and reports an :class:`audiohookd.protocol.events.Fault`.

It is stricter than Genesys Cloud: unknown messages, and known entities with invalid content, are protocol errors.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from msgspec import UNSET, Struct

from audiohookd.protocol import events, messages
from audiohookd.protocol.client.checks import ServerProtocolError, check_entity, selected
from audiohookd.protocol.client.events import Accepted, Disconnected, Heard, Results, Stopped
from audiohookd.protocol.client.states import CLOSED, CLOSING, GONE, LEGAL, NEW, OPEN, OPENING, ClientState
from audiohookd.protocol.codec import (
    MAX_RECEIVED,
    MAX_SENT,
    ServerEnvelope,
    decode_parameters,
    decode_server_envelope,
    encode_client,
)
from audiohookd.protocol.duration import NANOSECONDS, duration_to_samples, format_duration, samples_to_duration
from audiohookd.protocol.errors import RemoteProtocolError
from audiohookd.protocol.media import Media

#: Samples per second and channel. AudioHook has no other rate.
RATE = 8000
#: Samples that Genesys Cloud buffers: no ``discardTo`` can skip more.
HISTORY = 30 * RATE


class ClientTimers(Struct, frozen=True):
    """The time-outs and ping intervals of the client, in seconds."""

    opened_timeout: float = 5.0
    pong_timeout: float = 5.0
    closed_timeout: float = 10.0
    #: From ``opened`` to the first ping, and from there to the second. Short, to measure the round trip early.
    quick_ping: float = 1.0
    ping_interval: float = 5.0


class _Ping(NamedTuple):
    """A ping that waits for its pong."""

    seq: int
    sent_at: float
    samples: int  # sent before it


class ClientSession:
    """The state machine of the client's side. Not thread-safe and not re-entrant.

    :param session_id: as in the header of the upgrade.
    :param opening: the parameters of ``open``; ``checks.offers`` builds their ``media``.
    :param now: a monotonic clock, in seconds.
    :param timers: the time-outs; the defaults of Genesys Cloud if None.
    :param plays_audio: the client is an Audio Connector.
    """

    def __init__(
        self,
        session_id: str,
        opening: messages.Open,
        now: Callable[[], float],
        timers: ClientTimers | None = None,
        plays_audio: bool = False,
    ) -> None:
        self.id = session_id
        self.state: ClientState = NEW
        #: Samples (per channel) since the start of the call, including pauses.
        self.position = 0
        #: Samples (per channel) that were sent.
        self.samples_sent = 0
        #: The selected medium; None before ``opened``, and if the server selected no audio.
        self.media: Media | None = None
        #: True if the driver must close the WebSocket.
        self.finished = False
        self._opening = opening
        self._now = now
        self._timers = timers or ClientTimers()
        self._sent = self._received = 0
        self._outgoing: list[bytes] = []
        self._events: deque[events.Event] = deque()
        self._step_due: float | None = None
        self._ping: _Ping | None = None
        self._pings = 0
        self._ping_due = 0.0
        self._rtt: int | None = None
        self._acknowledged = 0
        self._server_pause = self._own_pause = False
        self._paused_at: int | None = None
        self._updates = 0
        self._has_complained = False
        self._close_reason = events.CONNECTION_LOST
        self._plays_audio = plays_audio
        self._played_at: float | None = None  # when the server's audio has been played; None: nothing is played

    # ---- the wire --------------------------------------------------------------------------------

    def receive_text(self, data: bytes) -> None:
        """Handles a whole text message."""
        if self.state in (NEW, CLOSED, GONE):
            return
        try:
            self._act(*self._read(data))
        except ServerProtocolError as complaint:
            self._complain(complaint)

    def receive_audio(self, data: bytes) -> None:
        """Handles a whole binary message: audio that an Audio Connector plays, and other clients reject."""
        if self.state is OPEN and self._plays_audio and self.media is not None:
            self._play(data, self.media)
        elif self.state in (OPENING, OPEN, CLOSING) and not (self.state is CLOSING and self._plays_audio):
            self._complain(
                ServerProtocolError(
                    415, "audio not expected", f"{len(data)} bytes, which only an Audio Connector plays"
                )
            )

    def connection_lost(self) -> None:
        """Handles the loss of the connection. Further calls have no effect."""
        if self.state not in (CLOSED, GONE):
            self._emit(events.Ended(events.CONNECTION_LOST))
            self.state = GONE
        self._step_due = None
        self._outgoing.clear()

    def take_outgoing(self) -> list[bytes]:
        """Returns the text messages to send now, in order, before any later audio."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def next_event(self) -> events.Event | None:
        """Returns the next event, or None. ``events.Ended`` is the last event."""
        return self._events.popleft() if self._events else None

    # ---- time ------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """The time of ``now`` at which ``tick`` must be called; None for never."""
        if self.state is not OPEN:
            return self._step_due
        due = self._ping_due if self._ping is None else self._ping.sent_at + self._timers.pong_timeout
        return due if self._played_at is None else min(due, self._played_at)

    def tick(self) -> None:
        """Handles an expired deadline. Has no effect if called too early or too often."""
        due = self.next_deadline()
        if due is None or self._now() < due:
            return
        if self.state is OPEN and self._played_at is not None and self._now() >= self._played_at:
            self._end_playback()
        elif self.state is OPENING:
            self._complain(ServerProtocolError(408, "timed out waiting for opened"))
        elif self.state is CLOSING:
            self._complain(ServerProtocolError(408, "timed out waiting for closed"))
            self._step_due = None
            self.finished = True
        elif self._ping is None:
            self.ping()
        else:
            self._complain(ServerProtocolError(408, "timed out waiting for pong"))

    # ---- requests of the client ------------------------------------------------------------------

    def start(self) -> None:
        """Sends ``open``. Call it when the connection is established."""
        self._enter(OPENING, self._timers.opened_timeout)
        self._send(self._opening)

    def advance(self, samples: int) -> bool:
        """Advances the call by ``samples`` (per channel), if the session is open.

        :returns: True if the caller must send their audio. False if the session is not open, is paused or has no
            media; the position then advances without audio.
        """
        if self.state is not OPEN:
            return False
        self.position += samples
        if self.media is None or self.paused:
            return False
        self.samples_sent += samples
        return True

    def ping(self) -> bool:
        """Sends a ping now. False if one is pending, or the session is not open."""
        if self.state is not OPEN or self._ping is not None:
            return False
        self._send(messages.Ping(None if self._rtt is None else format_duration(self._rtt)))
        now = self._now()
        self._ping = _Ping(self._sent, now, self.samples_sent)
        self._pings += 1
        self._ping_due = now + (self._timers.quick_ping if self._pings < 2 else self._timers.ping_interval)
        return True

    def close(self, reason: messages.CloseReason = "end") -> bool:
        """Sends ``close``. False if it was sent before, or there is no session."""
        if self.state not in (OPENING, OPEN):
            return False
        self._enter(CLOSING, self._timers.closed_timeout)
        self._close_reason = reason
        self._send(messages.Close(reason))
        return True

    def pause(self) -> bool:
        """Starts a pause of the client, as for a secure flow. False if the session is not open."""
        if self.state is not OPEN:
            return False
        self._own_pause = True
        self._stop_audio()
        return True

    def resume(self) -> bool:
        """Ends the client's pause; a pause of the server continues. False if the session is not open."""
        if self.state is not OPEN:
            return False
        self._own_pause = False
        if not self._server_pause:
            self._restart_audio()
        return True

    def update(self, language: str | None) -> bool:
        """Changes the language of the call. False if the session is not open."""
        if self.state is not OPEN:
            return False
        self._updates += 1
        self._send(messages.Update(language))
        return True

    def dtmf(self, digit: str) -> bool:
        """Presses a key (Audio Connector). False if the session is not open."""
        if self.state is not OPEN:
            return False
        self._send(messages.Dtmf(digit))
        return True

    @property
    def is_open(self) -> bool:
        """True if the session is open; it may be paused."""
        return self.state is OPEN

    @property
    def paused(self) -> bool:
        """True while client or server have paused the audio."""
        return self._paused_at is not None

    @property
    def in_flight(self) -> int:
        """Samples sent since the last answered ping, which the server may not have read yet."""
        return self.samples_sent - self._acknowledged

    # ---- checks ----------------------------------------------------------------------------------

    def _read(self, data: bytes) -> tuple[str, messages.Parameters | None]:
        if len(data) > MAX_RECEIVED:
            raise ServerProtocolError(413, "message too large", f"{len(data)} bytes")
        try:
            envelope = decode_server_envelope(data)
            self._count(envelope)
            return envelope.type, decode_parameters(envelope)
        except RemoteProtocolError as fault:
            raise ServerProtocolError(400, fault.info, fault.detail) from None

    def _count(self, envelope: ServerEnvelope) -> None:
        """Checks the envelope. After a protocol error any counter is accepted, as only ``closed`` is awaited."""
        expected = self._received + 1
        self._received = envelope.seq
        if self._has_complained:
            return
        if envelope.seq != expected:
            raise ServerProtocolError(400, "message out of sequence", f"seq {envelope.seq} and not {expected}")
        if envelope.clientseq > self._sent:
            detail = f"clientseq {envelope.clientseq} of {self._sent} sent"
            raise ServerProtocolError(400, "message out of sequence", detail)
        if envelope.id.lower() != self.id.lower():
            raise ServerProtocolError(400, "message of another session", envelope.id)
        if envelope.type == "pong" and self._ping and envelope.clientseq != self._ping.seq:
            detail = f"clientseq {envelope.clientseq} and not {self._ping.seq}"
            raise ServerProtocolError(400, "pong does not answer the ping", detail)

    def _act(self, type_: str, parameters: messages.Parameters | None) -> None:
        method = LEGAL.get((self.state, type_))
        if method is None:
            raise ServerProtocolError(409, "message not expected", f"{type_} while {self.state.name}")
        getattr(self, method)(parameters)

    def _complain(self, complaint: ServerProtocolError) -> None:
        if self._has_complained:
            return
        self._has_complained = True
        self._emit(events.Fault(f"{complaint.code} {complaint}"))
        self._send(messages.Error(complaint.code, complaint.text))
        self.close("error")

    # ---- messages of the server ------------------------------------------------------------------

    def _on_opened(self, parameters: messages.Opened) -> None:
        self.media = selected(parameters.media, self._opening.media)
        self._enter(OPEN, None)
        self._ping_due = self._now() + self._timers.quick_ping
        languages = None if parameters.supported_languages is UNSET else parameters.supported_languages
        is_paused = parameters.start_paused is True
        discard_to = None if parameters.discard_to is UNSET else parameters.discard_to
        self._emit(Accepted(self.media, languages, is_paused, discard_to))
        if discard_to is not None:
            self._skip_to(duration_to_samples(discard_to, RATE))
        if is_paused:
            self._on_pause(messages.Pause())

    def _on_pong(self, _: messages.Pong) -> None:
        if self._ping is None:
            raise ServerProtocolError(409, "message not expected", "pong without a ping")
        self._rtt = max(0, int((self._now() - self._ping.sent_at) * NANOSECONDS))
        self._acknowledged = self._ping.samples
        self._ping = None
        self._emit(events.RoundTrip(self._rtt))

    def _on_pause(self, _: messages.Pause) -> None:
        self._server_pause = True
        self._stop_audio()

    def _on_resume(self, _: messages.Resume) -> None:
        self._server_pause = False
        if self._own_pause:
            self._send(messages.Paused())
        else:
            self._restart_audio()

    def _on_updated(self, _: messages.Updated) -> None:
        if not self._updates:
            raise ServerProtocolError(409, "message not expected", "updated without an update")
        self._updates -= 1

    def _on_event(self, parameters: messages.Event) -> None:
        if not parameters.entities:
            # Genesys' reference client fails on it.
            self._emit(events.Tolerated("event without entities"))
            return
        for entity in parameters.entities:
            check_entity(entity)
        self._emit(Results(parameters.entities))
        if self._played_at is not None and any(entity["type"] == "barge_in" for entity in parameters.entities):
            self._emit(Stopped(self._position_at(self._now())))
            self._end_playback()

    def _on_disconnect(self, parameters: messages.Disconnect) -> None:
        self._emit(Disconnected(parameters.reason, parameters.info, parameters.output_variables))
        self.close("disconnect")

    def _on_reconnect(self, parameters: messages.Reconnect) -> None:
        self._emit(events.Tolerated("reconnect" if parameters.info is None else f"reconnect: {parameters.info}"))

    def _ignore_late(self, _: messages.Parameters) -> None:
        """Ignores a message that the server sent before it received ``close``."""

    def _on_closed(self, _: messages.Closed) -> None:
        self._enter(CLOSED, None)
        self.finished = True
        self._emit(events.Ended(self._close_reason))

    # ---- audio of the server ---------------------------------------------------------------------

    def _play(self, data: bytes, media: Media) -> None:
        samples, rest = divmod(len(data), media.frame_bytes)
        if rest or len(data) > MAX_SENT:
            text = "audio holds part of a sample" if rest else "message too large"
            self._complain(ServerProtocolError(413 if not rest else 400, text, f"{len(data)} bytes"))
            return
        now = self._now()
        if self._played_at is None:
            self._send(messages.PlaybackStarted())
            self._emit(events.Playback(True))
        start = now if self._played_at is None else self._played_at
        self._emit(Heard(self._position_at(start), data))
        self._played_at = start + samples / RATE

    def _end_playback(self) -> None:
        self._played_at = None
        self._send(messages.PlaybackCompleted())
        self._emit(events.Playback(False))

    def _position_at(self, at: float) -> int:
        return self.position + round((at - self._now()) * RATE)

    # ---- bookkeeping -----------------------------------------------------------------------------

    def _stop_audio(self) -> None:
        """Sends ``paused``, also for a repeated request, which asks for the state."""
        if self._paused_at is None:
            self._paused_at = self.position
            self._emit(events.Paused())
        self._send(messages.Paused())

    def _restart_audio(self) -> None:
        start = self.position if self._paused_at is None else self._paused_at
        if self._paused_at is not None:
            self._paused_at = None
            self._emit(events.Resumed())
        self._send(messages.Resumed(_duration(start), _duration(self.position - start)))

    def _skip_to(self, target: int) -> None:
        skipped = min(target - self.position, HISTORY)
        if skipped > 0:
            start = self.position
            self.position += skipped
            self._send(messages.Discarded(_duration(start), _duration(skipped)))

    def _enter(self, state: ClientState, seconds: float | None) -> None:
        self.state = state
        self._step_due = None if seconds is None else self._now() + seconds
        if state is not OPEN:
            self._played_at = None

    def _send(self, parameters: messages.Parameters) -> None:
        data = encode_client(self.id, self._sent + 1, self._received, _duration(self.position), parameters)
        self._sent += 1
        self._outgoing.append(data)

    def _emit(self, event: events.Event) -> None:
        self._events.append(event)


def _duration(samples: int) -> str:
    return samples_to_duration(samples, RATE)
