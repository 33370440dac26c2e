"""Connects one protocol session to its WebSocket and to its plugins.

After every call into the session, the driver (1) sends the outgoing messages, (2) delivers the events, (3) re-arms
the timer, in this order. It is never re-entered: if a plugin acts during a delivery, its action is queued.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from audiohookd.escaping import CLIENT_TEXT_LIMIT, loggable, quoted
from audiohookd.observe.counters import Counters
from audiohookd.protocol import events
from audiohookd.protocol.messages import DisconnectReason
from audiohookd.protocol.sending.rates import SendRates
from audiohookd.protocol.session import DEFAULT_RATE, Session
from audiohookd.protocol.timeouts import Timeouts
from audiohookd.session.connection_end import ConnectionEnd, by_abort
from audiohookd.session.fanout import Fanout, RoutePlugins, Watcher, call_now
from audiohookd.session.opening import Asking, Opening
from audiohookd.session.plugin_session import PluginSession, SessionLogger
from audiohookd.session.registry import UNOWNED, Registry
from audiohookd.session.upgrade import UpgradeInfo
from audiohookd.session.wire import IWebSocket

#: Seconds after the end of a session in which its plugins may finish their pending calls. Then ``closed`` is called
#: at once, with the same time again to finish.
FINISH_TIME = 30.0
#: If a timer is more than this many seconds late, the whole process was suspended.
SUSPENDED_AFTER = 1.0
#: Seconds that a client gets after a suspension of the process, before a time-out applies.
CATCH_UP_TIME = 2.0
#: Messages kept until the observers exist: an ``open`` and some early pings.
EARLY_LIMIT = 32
#: Close reasons that are counted by name. Any other is counted as ``other``, to limit the number of labels.
_REASONS = frozenset({"end", "error", "disconnect", "reconnect", events.CONNECTION_LOST})


class Observers(Enum):
    """The life of the observers of a session. A session that was not opened has none."""

    NONE = 1
    RUNNING = 2
    #: All have finished ``closed``, or were abandoned.
    FINISHED = 3


class ServerContext(Struct, frozen=True):
    """The services that all connections share."""

    #: Monotonic clock for timers and durations.
    clock: IReactorTime
    #: Returns seconds since the epoch, for dates. The system clock may be set forward or back at any time.
    now: Callable[[], float]
    timers: Timeouts
    registry: Registry
    counters: Counters
    #: The plugins of each route, by path.
    routes: Mapping[str, RoutePlugins]
    #: Calls a function with arguments in the reactor thread, from any thread.
    from_thread: Callable[..., object] = call_now
    #: The limits of what is sent to each client.
    rates: SendRates = SendRates()


class Connection:
    """Drives the session of one WebSocket after its upgrade was accepted.

    :param refusal: the reason of the ``disconnect`` that rejects the session at once; None to serve it.
    """

    def __init__(
        self,
        shared: ServerContext,
        upgrade: UpgradeInfo,
        wire: IWebSocket,
        refusal: DisconnectReason | None = None,
    ) -> None:
        self._shared = shared
        self._upgrade = upgrade
        self._wire = wire
        self._log = SessionLogger(upgrade, is_stranger=refusal is not None)
        route = shared.routes.get(upgrade.path, RoutePlugins())
        self._session = Session(
            upgrade.session_id,
            upgrade.organization_id,
            shared.timers,
            shared.clock.seconds,
            shared.rates,
            route.product,
            route.time_limit,
        )
        # Dates within a session follow the monotonic clock: its recording stores them as durations from its start.
        self._epoch = shared.now() - shared.clock.seconds()
        self._fanout: Fanout | None = None
        self._asking: Asking | None = None
        self._conversation_id = ""
        self._start_position = 0
        self._early: list[tuple[bool, bytes, float]] = []
        self._early_limit = EARLY_LIMIT if refusal is None else 0  # no memory for rejected clients
        self._timer: IDelayedCall | None = None
        self._armed_for = 0.0
        self._is_catching_up = False
        self._opened_timer: IDelayedCall | None = None
        self._observer_timer: IDelayedCall | None = None
        self._is_probe = False
        self._pumping = False
        self._is_lost = False
        self._end: ConnectionEnd | None = None
        self._observers = Observers.NONE
        #: Fires when the connection is lost and its plugins have finished.
        self.finished: Deferred[None] = Deferred()
        shared.registry.add(self, UNOWNED if refusal == "unauthorized" else upgrade.owner)
        shared.counters.count("connections")
        if refusal is not None:
            self._session.disconnect(refusal)
        self._pump()

    @property
    def unfinished(self) -> list[str]:
        """Names of the plugins that have not finished the session."""
        return [] if self._fanout is None else self._fanout.unfinished

    # ---- from the wire ---------------------------------------------------------------------------

    def text(self, data: bytes) -> None:
        """Handles a text message. Never raises: Autobahn would drop TCP without a log line."""
        try:
            self._session.receive_text(data)
            self._pump()
        except Exception:
            self._fail()

    def audio(self, data: bytes) -> None:
        """Handles a binary message. Never raises."""
        try:
            if self._session.receive_audio(data):
                self._pumping = True
                self._fanout.audio(data)  # type: ignore[union-attr]  # only open sessions accept audio
                self._pumping = False
            if self._session.has_news or self._session.has_waiting:  # a plugin may have sent something in ``audio``
                self._pump()
        except Exception:
            self._fail()

    def log_protocol_error(self, detail: str) -> None:
        """Counts and logs a protocol error of the client. The caller ends the connection."""
        self._shared.counters.count("protocol_errors")
        if self._log.log_once("broke the protocol"):
            shown = loggable(detail, CLIENT_TEXT_LIMIT)
            self._log.warn("disconnected, the client broke the protocol: {detail}", detail=shown)

    def lost(self, end: ConnectionEnd | None = None) -> None:
        """The connection is lost. Further calls have no effect."""
        if not self._is_lost:
            self._is_lost = True
            self._end = end
            if self._fanout is not None:
                self._fanout.connection_lost(end)
            self._session.connection_lost()
            self._pump()

    @property
    def plays_audio(self) -> bool:
        """True if the client is an Audio Connector."""
        return self._session.plays_audio

    # ---- from the operator -----------------------------------------------------------------------

    @property
    def session_id(self) -> str:
        """The id of the session."""
        return self._session.id

    def describe(self) -> dict[str, object]:
        """The session, for the operator; without personal data."""
        media = self._session.media
        return {
            "session": self._session.id,
            "conversation": self._conversation_id,
            "organization": self._upgrade.organization_id,
            "route": self._upgrade.path,
            "seconds": round(self._seconds, 1),
            "media": f"{media.format} {'+'.join(media.channels)}" if media else None,
            "paused": self._session.paused,
            "pausedByOperator": self._session.is_pause_held,
        }

    def hold_pause(self, is_held: bool) -> bool:
        """Pauses the session, or ends that pause. False if the session is not open."""
        is_done = self._session.hold_pause(is_held)
        if is_done:
            self._log.info("{done} by the operator", done="paused" if is_held else "resumed")
            self._pump()
        return is_done

    # ---- from the daemon -------------------------------------------------------------------------

    def start_draining(self) -> None:
        """Asks the client to move to another connection, if the route allows it."""
        route = self._shared.routes.get(self._upgrade.path)
        if route is not None and route.reconnect and not self.plays_audio:
            if self._session.reconnect("server is shutting down"):
                self._log.info("asked the client to reconnect elsewhere")
            self._pump()

    def shut_down(self) -> None:
        """Asks the client to close because the daemon shuts down."""
        self._session.disconnect("error", "server is shutting down")
        self._pump()

    def disconnect_for_rate(self, info: str) -> None:
        """Asks the client to close because it exceeds a receive rate limit."""
        self._log.warn("disconnected: {info}", info=info)
        self._session.disconnect("error", info)
        self._pump()

    def _fail(self) -> None:
        """Ends this session, and only this one, after an internal error."""
        self._log.failure("a message could not be handled")
        self._shared.counters.count("internal_errors")
        self._pumping = False
        self._session.disconnect("error", "internal error")
        self._pump()

    def abort(self) -> None:
        """Drops the connection at once because the daemon stops."""
        self._wire.abort()
        self.lost(by_abort("the daemon stops"))
        if self._fanout is not None:
            self._fanout.hurry()

    # ---- the three steps -------------------------------------------------------------------------

    def _pump(self) -> None:
        if self._pumping:
            return
        self._pumping = True
        while self._session.has_news:
            self._guard(self._step)
        self._pumping = False
        self._arm()
        if self._is_lost:
            self._finish()
        elif self._session.finished:
            self._wire.close(self._session.disconnect_info)

    def _step(self) -> None:
        while True:
            for message in self._session.take_outgoing():
                self._wire.send(message)
            for data in self._session.take_audio():
                self._wire.send_audio(data)
            if (event := self._session.next_event()) is None:
                return
            self._deliver(event)

    def _guard(self, act: Callable[[], None]) -> None:
        """Runs ``act``. An internal error ends this session, and only this one; the pump continues."""
        try:
            act()
        except Exception:
            self._log.failure("internal error")
            self._shared.counters.count("internal_errors")
            self._session.disconnect("error", "internal error")

    def _arm(self) -> None:
        """Arms the only timer of this connection. It may fire early: moving it at every message costs more."""
        deadline = self._session.next_deadline()
        if self._timer is not None:
            if deadline is not None and self._armed_for <= deadline:
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._armed_for = deadline
            delay = max(0.0, deadline - self._shared.clock.seconds())
            self._timer = self._shared.clock.callLater(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        deadline = self._session.next_deadline()
        self._is_catching_up = (
            not self._is_catching_up
            and deadline is not None
            and self._shared.clock.seconds() - deadline > SUSPENDED_AFTER
        )
        if self._is_catching_up:
            # This process was suspended, not the client, and the client's messages wait in the socket's buffer.
            # Without this, a machine that was suspended for 25 s ended all its calls when it resumed.
            self._armed_for = self._shared.clock.seconds() + CATCH_UP_TIME
            self._timer = self._shared.clock.callLater(CATCH_UP_TIME, self._tick)
        else:
            self._session.tick()
            self._pump()

    # ---- events ----------------------------------------------------------------------------------

    def _deliver(self, event: events.Event) -> None:
        match event:
            case events.Message():
                self._message(event)
            case events.OpenRequested():
                self._open(event)
            case events.Opened():
                self._opened()
            case events.Closing(reason):
                self._closing(reason)
            case events.Ended(reason):
                self._ended(reason)
            case events.Fault() | events.Tolerated() | events.PeerError():
                self._report(event)
            case events.TimeLimitNear() | events.AudioWhilePaused() | events.Unsent():
                self._warn(event)
            case _ if self._fanout is not None:
                self._fanout.deliver(event)

    def _message(self, event: events.Message) -> None:
        message = (event.outgoing, event.data, self._date())
        if self._fanout is not None and self._observers is not Observers.NONE:
            self._fanout.message(*message)
        elif len(self._early) < self._early_limit:
            self._early.append(message)

    def _warn(self, event: events.TimeLimitNear | events.AudioWhilePaused | events.Unsent) -> None:
        """Counts and logs what the operator should know, and tells the plugins."""
        match event:
            case events.TimeLimitNear(seconds):
                self._log.warn("Genesys Cloud ends this session in {seconds:.0f} s (time_limit)", seconds=seconds)
            case events.AudioWhilePaused(_, size):
                self._shared.counters.count("audio_while_paused_bytes", amount=size)
                if self._log.log_once("audio while paused"):
                    text = "the client sends audio although it reported a pause: the audio is dropped, not recorded"
                    self._log.error(text)
            case events.Unsent(plugin, entities):
                self._shared.counters.count("unsent_entities", plugin, len(entities))
                if self._log.log_once(f"unsent entities of {plugin}"):
                    text = "{count} results of plugin {plugin} were not sent before the session ended ([send])"
                    self._log.warn(text, count=len(entities), plugin=plugin)
        if self._fanout is not None:
            self._fanout.deliver(event)

    def _report(self, event: events.Fault | events.Tolerated | events.PeerError) -> None:
        """Counts and logs what the client did wrong, or reports."""
        match event:
            case events.Fault(detail):
                self.log_protocol_error(detail)
            case events.Tolerated(anomaly):
                self._shared.counters.count("protocol_anomalies", anomaly)
                if self._log.log_once(anomaly):
                    shown = loggable(anomaly, CLIENT_TEXT_LIMIT)
                    self._log.info("tolerated a protocol anomaly of the client: {anomaly}", anomaly=shown)
            case events.PeerError(code, message, _):
                self._shared.counters.count("peer_errors")
                if self._log.log_once(f"error {code}"):
                    shown = quoted(message, CLIENT_TEXT_LIMIT)
                    self._log.warn("the client reported error {code} {message}", code=code, message=shown)

    def _open(self, asked: events.OpenRequested) -> None:
        is_probe = asked.request.is_probe
        refusal = self._shared.registry.admit(self, is_probe, self._upgrade.owner)
        if refusal is not None:
            self._reject("error", refusal.info, refusal.detail)
            return
        if is_probe:
            self._log.info("connection probe")
        route = RoutePlugins() if is_probe else self._shared.routes[self._upgrade.path]
        session = PluginSession(self._session, self._upgrade, asked.request, self._date(), self._pump, route.product)
        seconds = self._shared.clock.seconds
        counters, from_thread = self._shared.counters, self._shared.from_thread
        self._fanout = Fanout(session, route, counters, self._required_failed, seconds, from_thread)
        self._is_probe = is_probe
        self._conversation_id = session.conversation_id
        self._start_position = session.start_position
        self._asking = Asking(Opening(session, asked, route.preference), self._fanout, self._answer)
        self._asking.start(self._shared.clock, self._shared.timers.admission_timeout, self._answer_late)

    def _answer_late(self, unanswered: list[Watcher]) -> None:
        if self._fanout is not None:
            self._fanout.report_late_admission(unanswered[0])
        required = [watcher.name for watcher in unanswered if watcher.required]
        if required:
            self._required_failed(required[0])
        else:
            self._shared.counters.count("admission_timeouts")

    def _answer(self, opening: Opening) -> None:
        self._asking = None
        self._guard(partial(self._accept, opening))
        self._pump()

    def _stop_asking(self) -> None:
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.stop()

    def _accept(self, opening: Opening) -> None:
        media = opening.decide()
        terms = opening.terms
        if terms.refusal is not None:
            self._reject(*terms.refusal, f"by plugin {opening.rejected_by}" if opening.rejected_by else "")
            return
        accepted = self._session.accept(
            media,
            start_paused=terms.start_paused,
            discard_to=terms.discard_to,
            supported_languages=terms.supported_languages if opening.supported_languages_wanted else None,
        )
        if accepted and not self._is_probe:
            self._log.info(
                "opened: {medium} on {path}, conversation {conversation}",
                medium=f"{media.format} {'+'.join(media.channels)}" if media else "no audio",
                path=self._upgrade.path,
                conversation=self._conversation_id,
            )

    def _reject(self, reason: DisconnectReason, info: str, detail: str = "") -> None:
        self._shared.counters.count("rejections", reason)
        self._log.warn("session rejected: {reason}", reason=loggable(f"{info}: {detail}" if detail else info))
        self._session.disconnect(reason, info)
        self._pump()

    def _opened(self) -> None:
        if self._fanout is not None:
            self._shared.counters.count("probes" if self._is_probe else "sessions")
            self._observers = Observers.RUNNING
            self._fanout.open()
            for message in self._early:
                self._fanout.message(*message)
            self._early.clear()
            if self._fanout.awaits_opened:
                timeout = self._shared.timers.admission_timeout
                self._opened_timer = self._shared.clock.callLater(timeout, self._fanout.expire_opened)

    def _closing(self, reason: str) -> None:
        if self._fanout is not None:
            self._fanout.closing(reason).addCallback(self._closing_done)

    def _closing_done(self, _: object) -> None:
        self._session.finish()
        self._pump()

    def _ended(self, reason: str) -> None:
        self._shared.counters.count("sessions_closed", reason if reason in _REASONS else "other")
        self._shared.registry.release(self)
        self._stop_asking()
        _cancel(self._opened_timer)
        self._early.clear()
        if self._fanout is None or self._observers is Observers.NONE:
            self._fanout = None
            return
        end = f" ({self._end})" if self._end is not None else ""
        shown = loggable(reason, CLIENT_TEXT_LIMIT)
        self._log.info("ended after {seconds:.1f} s: {reason}{end}", seconds=self._seconds, reason=shown, end=end)
        self._fanout.end(reason).addCallback(self._observers_done)
        if self._observers is Observers.RUNNING:
            self._observer_timer = self._shared.clock.callLater(FINISH_TIME, self._hurry, self._fanout)

    def _date(self) -> float:
        """Seconds since the epoch."""
        return self._epoch + self._shared.clock.seconds()

    @property
    def _seconds(self) -> float:
        """Duration of the session in the time of the call, including pauses and lost audio."""
        rate = self._session.media.rate if self._session.media else DEFAULT_RATE
        return (self._session.position - self._start_position) / rate

    def _hurry(self, fanout: Fanout) -> None:
        # A plugin that hangs must not keep the memory of a session for ever.
        self._observer_timer = self._shared.clock.callLater(FINISH_TIME, fanout.abandon)
        fanout.hurry()

    def _observers_done(self, _: object) -> None:
        _cancel(self._observer_timer)
        self._observers = Observers.FINISHED
        self._fanout = None
        self._pump()

    def _finish(self) -> None:
        if self._observers is Observers.RUNNING:
            self._shared.registry.detach(self)
        elif not self.finished.called:
            self._fanout = self._asking = None  # else a plugin that keeps the session keeps this connection, too
            self.finished.callback(None)

    def abandon(self) -> None:
        """Stops waiting for the plugins after the session has ended and the connection is lost."""
        if self._fanout is not None:
            self._fanout.hurry()
        if self._fanout is not None:
            self._fanout.abandon()

    def _required_failed(self, plugin: str) -> None:
        if self._session.disconnect("error", "a required service failed"):
            self._shared.counters.count("required_failures", plugin)
            self._log.error("session disconnected: the required plugin {plugin} failed", plugin=plugin)
            self._pump()


def _cancel(timer: IDelayedCall | None) -> None:
    if timer is not None and timer.active():
        timer.cancel()
