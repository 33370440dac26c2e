"""The server's side of one AudioHook session, without I/O (protocol sections 4 to 6).

``receive_text`` and ``receive_audio`` accept messages, ``take_outgoing`` returns the messages to send, ``next_event``
returns the events, ``next_deadline`` and ``tick`` handle time-outs. A protocol error of the peer never raises: the
session changes its state and queues a ``disconnect``. An error of the caller raises :class:`LocalProtocolError`.

After every call the driver must send all messages of ``take_outgoing``, deliver all events of ``next_event``, close
the WebSocket if ``finished``, and arrange that ``tick`` is called at ``next_deadline``.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import get_args

from msgspec import UNSET

from audiohookd.protocol import codec, events, messages
from audiohookd.protocol.deadlines import Deadlines
from audiohookd.protocol.duration import NANOSECONDS, parse_duration, samples_to_duration
from audiohookd.protocol.entities import BargeIn, Entity, as_tuple, encode_entities
from audiohookd.protocol.errors import LocalProtocolError, RemoteProtocolError
from audiohookd.protocol.media import Media, parse_offers
from audiohookd.protocol.product import Product
from audiohookd.protocol.sending.rates import MICROSECONDS, SendRates
from audiohookd.protocol.sending.sender import Sender
from audiohookd.protocol.sending.text_queue import Waiting
from audiohookd.protocol.sequence import SequenceNumbers
from audiohookd.protocol.states import AUDIO_WHILE_PAUSED, LEGAL, LENIENT, TOLERATED, State, classify_unexpected_audio
from audiohookd.protocol.timeline import DEFAULT_RATE, Timeline
from audiohookd.protocol.timeouts import Timeouts

__all__ = ["DEFAULT_RATE", "Session"]

#: Seconds before the client ends the session, at which a warning is due.
WARN_BEFORE = 60.0


class Session:
    """The state machine of the server's side. Not thread-safe and not re-entrant.

    :param session_id: from the header of the upgrade; every message must have it.
    :param organization_id: from the header of the upgrade; ``open`` must have the same.
    :param timers: the time-outs.
    :param now: a monotonic clock, in seconds.
    :param rates: the limits of what is sent to the client.
    :param product: which client calls.
    :param time_limit: seconds after which the client itself ends the session; 0: never.
    """

    def __init__(
        self,
        session_id: str,
        organization_id: str,
        timers: Timeouts,
        now: Callable[[], float],
        rates: SendRates = SendRates(),  # noqa: B008 - immutable
        product: Product = Product.MONITOR,
        time_limit: float = 0.0,
    ) -> None:
        self.id = session_id
        self.state = State.PREPARING
        self.media: Media | None = None
        #: True if the client reported a pause.
        self.paused = False
        #: True if the server asked for a pause.
        self.pause_wanted = False
        #: True if the operator asked for it.
        self.is_pause_held = False
        #: True if the driver must close the WebSocket; and the info of the ``disconnect`` that was sent, or "".
        self.finished, self.disconnect_info = False, ""
        self._organization_id = organization_id.lower()
        self._timers = timers
        self._numbering = SequenceNumbers()
        self._outgoing: list[bytes] = []
        self._max_entities = codec.max_entities(session_id)
        self._sender = Sender(rates, now, self._max_entities)
        #: True if the client is an Audio Connector.
        self.plays_audio = product is Product.AUDIO
        self._product = product
        self._time_limit = time_limit
        self._outgoing_audio: list[bytes] = []
        self._heard_at = 0  # microseconds; when the position was current
        self._farewell: messages.Disconnect | None = None  # waits for the end of the play-out
        self._is_finishing = False  # ``closed`` waits for events
        self._events: deque[events.Event] = deque()
        self._deadlines = Deadlines(now)
        self._deadlines.wait(timers.client_open_timeout)
        self._frame_bytes = 0  # while audio is accepted, else 0: one test per frame
        self._timeline = Timeline(now)
        self._said_position = "PT0S"  # in the client's last message
        self._close_reason: str | None = None
        self._was_open = False
        self._is_ended = False
        self._early_updates = 0
        self._early_language: str | None = None

    @property
    def position(self) -> int:
        """Samples (per channel) since the start of the call, including pauses and lost audio."""
        return self._timeline.position

    # ---- the wire --------------------------------------------------------------------------------

    def receive_text(self, data: bytes) -> None:
        """Handles a whole text message."""
        if self.state is State.GONE:
            return
        try:
            envelope = codec.decode_client_envelope(data)
            self._emit(events.Message(False, data))
            self._count(envelope)
            self._said_position = envelope.position
            parameters = codec.decode_parameters(envelope)
        except RemoteProtocolError as fault:
            self._protocol_error(fault)
            if self.state is State.DISCONNECTING and codec.is_close(data):
                # The client sends no second ``close``, and waits for ``closed``.
                self._on_close(messages.Close("error"))
            return
        if self.state is State.OPEN:
            self._deadlines.touch(self._timers.idle_timeout)
        self._act(envelope.type, parameters)

    def receive_audio(self, data: bytes) -> bool:
        """Handles a whole binary message, and moves the position past its audio.

        :returns: True if it is audio for the sinks.
        """
        if self._frame_bytes and len(data) <= codec.MAX_RECEIVED:
            samples, rest = divmod(len(data), self._frame_bytes)
            if not rest and self._timeline.advance(samples):
                if self.plays_audio:
                    self._heard_at = self._sender.now()
                return samples > 0
        self._unexpected_audio(data)
        return False

    def connection_lost(self) -> None:
        """Handles the loss of the connection. Further calls have no effect."""
        if self.state is not State.GONE:
            self._end(self._close_reason or events.CONNECTION_LOST)
            self._enter(State.GONE, None)
            self._outgoing.clear()

    def take_outgoing(self) -> list[bytes]:
        """Returns the text messages to send now, in order."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def take_audio(self) -> list[bytes]:
        """Returns the binary messages to send now, in order, after the text messages."""
        outgoing, self._outgoing_audio = self._outgoing_audio, []
        return outgoing

    def next_event(self) -> events.Event | None:
        """Returns the next event, or None. :class:`events.Ended` is the last event."""
        return self._events.popleft() if self._events else None

    @property
    def has_news(self) -> bool:
        """True if there are messages to send or events to deliver."""
        return bool(self._outgoing or self._events or self._outgoing_audio)

    @property
    def has_waiting(self) -> bool:
        """True if something waits for the limits of the client, so that ``next_deadline`` may have changed."""
        return self._sender.has_waiting

    # ---- time ------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """The time of ``now`` at which ``tick`` must be called; None for never."""
        deadlines = [self._deadlines.next(), self._sender.next() if self._can_send_events else None]
        if self._farewell is not None:
            deadlines.append(self._sender.audio_over_at)
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def tick(self) -> None:
        """Handles an expired deadline. Has no effect if called too early or too often."""
        self._send_waiting()
        due = self._deadlines.due()
        if due == "step":
            self._time_out()
        elif due == "idle":
            self.disconnect("error", "no message from the client", grace=self._timers.idle_grace)
        elif due == "cap":
            self.disconnect("completed", "longest session reached")
        elif due == "warning":
            self._emit(events.TimeLimitNear(WARN_BEFORE))
        if self._farewell is not None and self._sender.is_audio_over:
            self._say_farewell()

    def _time_out(self) -> None:
        if self.state is State.PREPARING:
            self.disconnect("error", "no open message")
        elif self.state is State.OPENING:
            self.disconnect("error", "not ready in time")
        elif self.state is State.CLOSING:
            self._complete_close()
        else:
            self.finished = True

    # ---- requests of the server ------------------------------------------------------------------

    def accept(
        self,
        media: Media | None,
        *,
        start_paused: bool = False,
        discard_to: int | None = None,
        supported_languages: Sequence[str] | None = None,
    ) -> bool:
        """Sends ``opened``.

        :param discard_to: position in samples up to which the client may skip its buffered audio.
        :returns: False if it is too late: the client has closed, or the session has timed out.
        """
        if self.state is not State.OPENING:
            return False
        self.media = media
        self._timeline.rate = media.rate if media else DEFAULT_RATE
        self.pause_wanted = start_paused
        skip = discard_to is not None and discard_to > self.position
        self._send(
            messages.Opened(
                media=(media.to_wire(),) if media else (),
                start_paused=True if start_paused else UNSET,
                discard_to=samples_to_duration(discard_to, self._timeline.rate) if skip and discard_to else UNSET,
                supported_languages=UNSET if supported_languages is None else tuple(supported_languages),
            )
        )
        self._was_open = True
        self._enter(State.OPEN, None)
        self._deadlines.touch(self._timers.idle_timeout)
        self._deadlines.limit(self._timers.max_duration)
        if self._time_limit > WARN_BEFORE:
            self._deadlines.warn(self._time_limit - WARN_BEFORE)
        self._sender.audio.start(media)
        self._heard_at = self._sender.now()
        self._timeline.begin(self._timers.max_duration)
        self._emit(events.Opened())
        # Answers each early update, but reports only the last language.
        for _ in range(self._early_updates):
            self._send(messages.Updated())
        if self._early_language is not None:
            self._emit(events.LanguageChanged(self._early_language))
        return True

    def disconnect(
        self,
        reason: messages.DisconnectReason,
        info: str | None = None,
        output_variables: Mapping[str, str] | None = None,
        grace: float | None = None,
        after_playback: bool = False,
    ) -> bool:
        """Asks the client to close.

        :param after_playback: waits until an Audio Connector has played all audio of ``send_audio``, and has reported
            that; at most 2 s longer than the audio is.
        :param info: logged by Genesys Cloud, so it must not contain internal or personal data.
        :param grace: seconds to wait for ``close``; by default the ``disconnect_timeout``.
        :returns: False if the session is already ending.
        :raises LocalProtocolError: ``reason`` is not in the protocol, ``info`` is not a text, ``output_variables``
            does not map texts to texts, or the message is too large.
        """
        if reason not in get_args(messages.DisconnectReason):
            raise LocalProtocolError(f"disconnect: no reason {reason!r}")
        if not isinstance(info, str | None):
            raise LocalProtocolError(f"disconnect: info must be a str, not {type(info).__name__}")
        variables = None if output_variables is None else _variables(output_variables)
        if self.state in LENIENT:
            return False
        farewell = messages.Disconnect(reason, info, variables)
        if after_playback and self.state is State.OPEN and not self._sender.is_audio_over:
            is_first, self._farewell = self._farewell is None, self._farewell or farewell
            return is_first
        self._disconnect(farewell, grace)
        return True

    def _disconnect(self, farewell: messages.Disconnect, grace: float | None) -> None:
        self._send(farewell)
        self.disconnect_info = farewell.info or farewell.reason
        self._enter(State.DISCONNECTING, self._timers.disconnect_timeout if grace is None else grace)

    def _say_farewell(self) -> None:
        farewell, self._farewell = self._farewell, None
        if farewell is not None and self.state is State.OPEN:
            self._disconnect(farewell, None)

    def finish(self) -> None:
        """Answers the client's ``close`` once all events were sent. Has no effect in another state."""
        if self.state is State.CLOSING:
            self._is_finishing = True
            self._send_waiting()

    def _complete_close(self) -> None:
        self._send(messages.Closed())
        self._enter(State.CLOSED, self._timers.client_close_timeout)
        self._end(self._close_reason or events.CONNECTION_LOST)

    def pause(self) -> bool:
        """Asks the client to stop sending audio, as soon as its limits allow. False if the session is not open."""
        return self._ask_pause(messages.Pause(), True)

    def resume(self) -> bool:
        """Asks the client to send audio again, likewise. False also while :meth:`hold_pause` is in force."""
        return not self.is_pause_held and self._ask_pause(messages.Resume(), False)

    def hold_pause(self, is_held: bool) -> bool:
        """Pauses the session for the operator, so that no plugin can resume it; or ends that, and resumes it.

        :returns: False if the session is not open.
        """
        if self.state is not State.OPEN:
            return False
        self.is_pause_held = is_held
        return self.pause() if is_held else self.resume()

    def reconnect(self, info: str | None = None) -> bool:
        """Asks the client to move to a new connection. False if the session is not open."""
        if self.state is not State.OPEN:
            return False
        self._send(messages.Reconnect(info))
        return True

    def send_event(self, entities: Sequence[Entity], owner: str = "") -> bool:
        """Sends results, as soon as the client's limits allow. Events that wait are merged into one message.

        :param owner: name of the plugin, for :class:`events.Unsent`.
        :returns: False if the session is not open, if ``closed`` was sent, or if too much waits already.
        :raises LocalProtocolError: there is no entity, an entity is malformed, or the message is too large.
        """
        sent = as_tuple(entities)
        encoded = encode_entities(sent)
        size = sum(len(bytes(entity)) + 1 for entity in encoded)
        if size > self._max_entities:
            raise LocalProtocolError(f"event: {size} bytes of entities exceed the limit of {self._max_entities}")
        if not self._can_send_events or not self._sender.text.add_event(Waiting(owner, sent, encoded, size)):
            return False
        self._send_waiting()
        return True

    def send_audio(self, data: bytes, is_last: bool = False) -> bool:
        """Plays audio to the caller: in messages of 0.4 s or more, half a second before the client plays them.

        :param data: whole samples in the selected format, of any length.
        :param is_last: the end of what the bot says now: a rest below 0.4 s is sent at once, and not 0.3 s later.
        :returns: False if the session is not open or has no audio, or if 1 MiB of audio waits already.
        :raises LocalProtocolError: the client of this product plays no audio, or ``data`` ends within a sample.
        """
        if not self.plays_audio:
            raise LocalProtocolError(f"audio: the client plays none: the product of the route is {self._product}")
        if self.media is not None and len(data) % self.media.frame_bytes:
            raise LocalProtocolError(f"audio: {len(data)} bytes end within a sample of {self.media.frame_bytes}")
        if self.state is not State.OPEN or self.media is None or self._farewell is not None:
            return False
        if not self._sender.audio.add(data, is_last, self._sender.now()):
            return False
        self._send_waiting()
        return True

    def barge_in(self) -> int:
        """Drops the audio that waits, and asks the client to drop what it has, because the caller speaks.

        :returns: samples (per channel) that were dropped here.
        """
        if self.media is None or not self.plays_audio or self.state is not State.OPEN:
            return 0
        dropped = self._sender.audio.waiting // self.media.frame_bytes
        self._sender.audio.clear(self._sender.now())
        self._emit(events.AudioDropped(self._call_position(self._sender.now())))
        self.send_event([BargeIn()])
        return dropped

    @property
    def waiting_audio(self) -> float:
        """Seconds of audio that wait to be sent."""
        return self._sender.audio.waiting_seconds

    def _call_position(self, at: int) -> int:
        """The position of the call at a time in microseconds: the client's audio arrives in steps of 0.2 s."""
        return self.position + (at - self._heard_at) * self._timeline.rate // MICROSECONDS

    def _ask_pause(self, parameters: messages.Pause | messages.Resume, wanted: bool) -> bool:
        if self.state is not State.OPEN:
            return False
        self.pause_wanted = wanted
        self._sender.text.want_pause(parameters)
        self._send_waiting()
        return True

    @property
    def _can_send_events(self) -> bool:
        return self.state is State.OPEN or (self.state is State.CLOSING and self._was_open)

    def _send_waiting(self) -> None:
        """Sends what the client's limits allow now."""
        if self._can_send_events:
            for parameters in self._sender.take_text():
                self._write(parameters)
            for chunk in self._sender.take_audio():
                self._outgoing_audio.append(chunk.data)
                self._emit(events.AudioSent(self._call_position(chunk.plays_at), chunk.data))
        if self._is_finishing and self.state is State.CLOSING and not self._sender.text.has_events:
            self._complete_close()

    # ---- checks ----------------------------------------------------------------------------------

    def _count(self, envelope: codec.ClientEnvelope) -> None:
        """Checks the counters and the id. While the session ends, adopts them without a check."""
        if self.state in LENIENT:
            self._numbering.follow(envelope)
            return
        if not self._numbering.check(envelope):
            self._emit(events.Tolerated("serverseq-backwards"))
        if envelope.id.lower() != self.id.lower():
            raise RemoteProtocolError("message of another session", envelope.id)
        if self.state is State.PREPARING:
            self._timeline.position = self._timeline.samples(envelope.position)

    def _act(self, type_: str, parameters: messages.Parameters | None) -> None:
        method = LEGAL.get((self.state, type_))
        if method is not None:
            getattr(self, method)(parameters)
        elif parameters is None:
            self._emit(events.Tolerated("unknown-type"))
        elif (self.state, type_) in TOLERATED:
            self._emit(events.Tolerated(type_))
        else:
            self._protocol_error(RemoteProtocolError("message not expected", f"{type_} while {self.state.name}"))

    def _protocol_error(self, fault: RemoteProtocolError) -> None:
        if self.state in LENIENT:
            self._emit(events.Tolerated("malformed"))
        else:
            self._emit(events.Fault(str(fault)))
            self.disconnect("error", fault.info)

    def _unexpected_audio(self, data: bytes) -> None:
        verdict = classify_unexpected_audio(self.state, len(data), self._frame_bytes, self.paused)
        if isinstance(verdict, RemoteProtocolError):
            self._protocol_error(verdict)
        else:
            if verdict == AUDIO_WHILE_PAUSED and data:
                self._emit(events.AudioWhilePaused(self.position, len(data)))
            self._emit(events.Tolerated(verdict))

    # ---- messages of the client ------------------------------------------------------------------

    def _on_open(self, parameters: messages.Open) -> None:
        self._enter(State.OPENING, self._timers.accept_timeout)
        if parameters.organization_id.lower() != self._organization_id:
            self._emit(events.Fault("organization in open is not that of the request"))
            self.disconnect("unauthorized", None)
            return
        self._emit(events.OpenRequested(parameters, parse_offers(parameters.media)))

    def _on_ping(self, parameters: messages.Ping) -> None:
        self._send(messages.Pong())
        if parameters.rtt is not None:
            self._emit(events.RoundTrip(parse_duration(parameters.rtt)))

    def _on_close(self, parameters: messages.Close) -> None:
        self._close_reason = parameters.reason
        self._enter(State.CLOSING, self._timers.plugin_closing_timeout)
        if self.paused and self._timeline.samples(self._said_position) > self.position:
            # The client sends no ``resumed`` that would end the pause.
            self._skip(self._said_position, "PT0S", events.GapCause.PAUSED)
        if self._was_open:
            self._emit(events.Closing(parameters.reason))
        else:
            self.finish()

    def _on_error(self, parameters: messages.Error) -> None:
        retry_after = None if parameters.retry_after is None else parse_duration(parameters.retry_after)
        if parameters.code == messages.TOO_MANY and retry_after is not None:
            self._sender.back_off(parameters.message, retry_after / NANOSECONDS)
        self._emit(events.PeerError(parameters.code, parameters.message, retry_after))

    def _on_update_early(self, parameters: messages.Update) -> None:
        self._early_updates += 1
        self._early_language = parameters.language or self._early_language

    def _on_update(self, parameters: messages.Update) -> None:
        self._send(messages.Updated())
        if parameters.language is not None:
            self._emit(events.LanguageChanged(parameters.language))

    def _on_paused(self, parameters: messages.Paused) -> None:
        if self.paused:
            self._emit(events.Tolerated("paused"))
            return
        self.paused = True
        self._update_audio()
        self._emit(events.Paused())

    def _on_resumed(self, parameters: messages.Resumed) -> None:
        if self._skip(parameters.start, parameters.discarded, events.GapCause.PAUSED) and self.paused:
            self.paused = False
            self._update_audio()
            self._emit(events.Resumed())

    def _on_discarded(self, parameters: messages.Discarded) -> None:
        self._skip(parameters.start, parameters.discarded, events.GapCause.DISCARDED)

    def _on_dtmf(self, parameters: messages.Dtmf) -> None:
        self._emit(events.Dtmf(parameters.digit))

    def _on_playback_started(self, parameters: messages.PlaybackStarted) -> None:
        self._emit(events.Playback(True))

    def _on_playback_completed(self, parameters: messages.PlaybackCompleted) -> None:
        self._emit(events.Playback(False))
        self._sender.audio.completed()
        if self._sender.audio.is_over:
            self._say_farewell()

    def _skip(self, start: str, discarded: str, cause: events.GapCause) -> bool:
        """Moves to the position that the client claims. False if it is implausible."""
        target = self._timeline.samples(start) + self._timeline.samples(discarded)
        if not self._timeline.can_reach(target):
            self._protocol_error(RemoteProtocolError("position too far", f"sample {target}"))
            return False
        if target < self.position:
            self._emit(events.Tolerated("position-backwards"))
        elif target > self.position:
            self._emit(self._timeline.skip_to(target, cause))
        return True

    # ---- bookkeeping -----------------------------------------------------------------------------

    def _enter(self, state: State, seconds: float | None) -> None:
        self.state = state
        self._deadlines.wait(seconds)
        self._update_audio()
        if state is not State.OPEN:
            self._sender.text.want_pause(None)
            self._sender.audio.clear(0)
            self._farewell = None

    def _update_audio(self) -> None:
        accepts_audio = self.state is State.OPEN and self.media is not None and not self.paused
        self._frame_bytes = self.media.frame_bytes if accepts_audio and self.media else 0

    def _send(self, parameters: messages.Parameters) -> None:
        """Sends a message that does not wait for the client's limits, and accounts for it."""
        self._write(parameters)
        self._sender.spend()

    def _write(self, parameters: messages.Parameters) -> None:
        """Sends a message. Only here is ``seq`` assigned, because one wrong number ends the session."""
        data = codec.encode_server(self.id, self._numbering.sent + 1, self._numbering.received, parameters)
        self._numbering.sent += 1
        self._outgoing.append(data)
        self._emit(events.Message(True, data))

    def _emit(self, event: events.Event) -> None:
        if not self._is_ended:
            self._events.append(event)

    def _end(self, reason: str) -> None:
        for waiting in self._sender.text.take_unsent():
            self._emit(events.Unsent(waiting.owner, waiting.entities))
        self._emit(events.Ended(reason))
        self._is_ended = True


def _variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Checks and copies output variables, because structures are not validated when they are built."""
    if not isinstance(variables, Mapping):
        raise LocalProtocolError(f"disconnect: output variables must be a mapping, not {type(variables).__name__}")
    copied = dict(variables)
    for name, value in copied.items():
        if not (isinstance(name, str) and isinstance(value, str)):
            raise LocalProtocolError(f"disconnect: output variable {name!r}: name and value must be str")
    return copied
