"""Delivers the events and the audio of one session to all its observers.

Each observer has its own queue: a slow or failing observer does not affect the others.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from msgspec import Struct, field
from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from audiohookd.interfaces import IPlugin, IRecorder, ISession, ISessionObserver, PartialLoss
from audiohookd.observe.counters import Counters
from audiohookd.protocol import events
from audiohookd.protocol.media import MediaPreference
from audiohookd.protocol.product import Product
from audiohookd.runtime import foreign_code
from audiohookd.runtime.error_text import in_words, text_of
from audiohookd.runtime.plugin_checks import mistakes_of_observer
from audiohookd.session.connection_end import ConnectionEnd
from audiohookd.session.observer_queue import ObserverQueue, ObserverTimeout
from audiohookd.session.session_view import SessionView


def call_now(function: Callable[..., object], *arguments: object) -> None:
    """Replaces ``reactor.callFromThread`` if there is only one thread."""
    function(*arguments)


class Watcher(Struct, frozen=True):
    """A plugin on a route."""

    name: str
    plugin: IPlugin
    required: bool = False
    #: Names of the observer classes that were checked for mistakes.
    checked: set[str] = field(default_factory=set)

    @property
    def records(self) -> bool:
        """True if the plugin records the sessions that it observes."""
        return bool(IRecorder.providedBy(self.plugin))


class RoutePlugins(Struct, frozen=True):
    """A route: its plugins, in the order of delivery, and the product that calls it.

    ``must_record``: warn of a call that no plugin records. ``time_limit``: seconds after which the client ends a
    session; 0: never.
    """

    watchers: Sequence[Watcher] = ()
    must_record: bool = False
    product: Product = Product.MONITOR
    time_limit: float = 0.0
    preference: MediaPreference = MediaPreference()
    #: A drain asks the clients to move to another connection.
    reconnect: bool = False

    @property
    def recorders(self) -> list[str]:
        """The names of the plugins that record."""
        return [watcher.name for watcher in self.watchers if watcher.records]


class Fanout:
    """Delivers one session's events and audio to its observers.

    :param give_up: called with the name of a required plugin that failed.
    :param seconds: a monotonic clock, in seconds.
    :param from_thread: calls a function in the reactor thread, from any thread.
    """

    def __init__(
        self,
        session: ISession,
        route: RoutePlugins,
        counters: Counters,
        give_up: Callable[[str], None],
        seconds: Callable[[], float],
        from_thread: Callable[..., object] = call_now,
    ) -> None:
        self._session = session
        self._route = route
        self._is_recorded = False
        self._counters = counters
        self._give_up = give_up
        self._seconds = seconds
        self._from_thread = from_thread
        self._views: dict[str, SessionView] = {}
        self._required: list[ObserverQueue] = []
        self._queues: list[ObserverQueue] = []
        self._names: list[str] = []  # the plugin of each queue
        self._sinks: list[ObserverQueue] = []
        self._slow: set[str] = set()
        self._partial: set[str] = set()  # recorders that failed before the end of the call

    @property
    def unfinished(self) -> list[str]:
        """Names of the plugins that have not finished the session."""
        queues = zip(self._names, self._queues, strict=False)  # no queues are left after the end
        return [name for name, queue in queues if not queue.finished.called]

    def open(self) -> None:
        """Asks the plugins for their observers, and calls ``opened``."""
        for watcher in self._route.watchers:
            self._ask(watcher)
        self._sinks = [queue for queue in self._queues if queue.takes_audio]
        self._call("opened")

    @property
    def watchers(self) -> Sequence[Watcher]:
        """The plugins on the route."""
        return self._route.watchers

    def view(self, watcher: Watcher) -> SessionView:
        """The ISession of this plugin."""
        if watcher.name not in self._views:
            # Functions, not methods: a view with a bound method would form a reference cycle with this object, which
            # only the garbage collector could free after a rejected session.
            limited = partial(_limit, self._counters, self._session.log, watcher.name)
            misused = partial(self._from_thread, _report_misuse, self._counters, self._session.log, watcher.name)
            disconnected = partial(_log_disconnect, self._session.log, watcher.name)
            view = SessionView(self._session, watcher.name, self._seconds, limited, misused, disconnected)
            self._views[watcher.name] = view
        return self._views[watcher.name]

    @property
    def awaits_opened(self) -> bool:
        """True if a required plugin has not finished its call. Meaningful right after ``opened``."""
        return any(queue.is_busy for queue in self._required)

    def expire_opened(self) -> None:
        """Times out the required plugins that have not finished ``opened``."""
        for queue in self._required:
            queue.expire("opened")

    def audio(self, frame: bytes) -> None:
        """Delivers audio to the sinks, the same bytes object to all of them."""
        for queue in self._sinks:
            queue.audio(frame)

    def message(self, outgoing: bool, data: bytes, at: float) -> None:
        """Delivers a protocol message that was sent or received at ``at`` (seconds since the epoch)."""
        for queue in self._queues:
            queue.call("message", outgoing, data, at)

    def deliver(self, event: events.Event) -> None:
        """Delivers any other event; ignores events that observers do not receive."""
        if isinstance(event, events.LanguageChanged):
            self._session.language = event.language
        if isinstance(event, events.Unsent):
            self._events_dropped(event.owner, event.entities)
        if (call := _CALLS.get(type(event))) is not None:
            self._call(*call(event))
        elif (call := _SINK_CALLS.get(type(event))) is not None:
            for queue in self._sinks:
                queue.call(*call(event))

    def _events_dropped(self, plugin: str, entities: Sequence[Any]) -> None:
        for name, queue in zip(self._names, self._queues, strict=False):  # no queues are left after the end
            if name == plugin:
                queue.call("events_dropped", entities)

    def connection_lost(self, end: ConnectionEnd | None) -> None:
        """Records how the connection ended, before or after the end of the session."""
        self._session.connection_end = end

    def closing(self, reason: str) -> "Deferred[Any]":
        """Calls ``closing``. Fires when all observers are idle."""
        self._call("closing", reason)
        return DeferredList([queue.drained() for queue in self._queues])

    def end(self, reason: str) -> "Deferred[Any]":
        """Ends the session. Fires when all observers have finished ``closed``."""
        for queue in self._queues:
            queue.end(reason)
        if self._route.must_record and not self._is_recorded:
            self._warn_of_no_recording()
        return DeferredList([queue.finished for queue in self._queues]).addCallback(self._release_observers)

    def hurry(self) -> None:
        """Cancels pending calls, and calls ``closed`` at once where it was not called. Call it after ``end``."""
        for queue in self._queues:
            queue.drop_pending()

    def abandon(self) -> None:
        """Cancels each unfinished ``closed``, which counts as a failure. Call it after ``hurry``."""
        for queue in self._queues:
            queue.force_finish()

    def _release_observers(self, _: object) -> None:
        """Breaks the cycle of observers, session and fan-out, to free memory without the garbage collector."""
        self._queues, self._sinks, self._required = [], [], []
        for view in self._views.values():
            view.end()
        self._views.clear()

    def _call(self, method: str, *arguments: Any) -> None:
        for queue in self._queues:
            queue.call(method, *arguments)

    def _ask(self, watcher: Watcher) -> None:
        queue = foreign_code.call(self._observe, watcher)
        if isinstance(queue, Failure):
            self.report(watcher, "observe", queue)
        elif queue is not None:
            self._queues.append(queue)
            self._names.append(watcher.name)
            self._is_recorded = self._is_recorded or watcher.records
            if watcher.required:
                self._required.append(queue)

    def _observe(self, watcher: Watcher) -> ObserverQueue | None:
        observer = watcher.plugin.observe(self.view(watcher))
        if observer is None:
            return None
        if not ISessionObserver.providedBy(observer):
            raise TypeError(f"observe must return an observer or None: {_kind(observer)} is not an ISessionObserver")
        self._check_class(watcher, type(observer))
        return ObserverQueue(
            observer,
            self._session,
            partial(self.report, watcher),
            partial(self._report_lost_audio, watcher),
            partial(self._report_dropped_message, watcher),
            watcher.name,
        )

    def _check_class(self, watcher: Watcher, observer: type) -> None:
        """Reports mistakes in the class of an observer, once; the check at the start cannot see this class."""
        name = f"{observer.__module__}.{observer.__qualname__}"
        if name not in watcher.checked:
            watcher.checked.add(name)
            for mistake in mistakes_of_observer(observer):
                self.report_misuse(watcher, mistake)

    def report(self, watcher: Watcher, callback: str, failure: Failure) -> None:
        """Counts and logs a failure of a plugin in ``callback``, and ends the session if the plugin is required.

        A :class:`PartialLoss` is logged without traceback: the plugin has logged the cause itself.
        """
        log, plugin = self._session.log, watcher.name
        self._counters.count("plugin_failures", plugin)
        consequence = _consequence(watcher, callback)
        if failure.check(PartialLoss):
            log.debug(
                "plugin {plugin} lost part of its input: {reason}", plugin=plugin, reason=text_of(failure.value)
            )
        elif failure.check(ObserverTimeout):
            self._counters.count("callback_timeouts", plugin)
            text = "plugin {plugin} failed: {callback} timed out and was cancelled; {consequence}"
            log.error(text, plugin=plugin, callback=callback, consequence=consequence)
        else:
            text = "plugin {plugin} failed in {callback}; {consequence}"
            shown = foreign_code.loggable(failure)
            log.failure(text, shown, plugin=plugin, callback=callback, consequence=consequence)
        if watcher.records and not failure.check(PartialLoss):
            self._warn_of_partial_recording(watcher, callback, failure)
        if watcher.required:
            self._give_up(plugin)

    def report_misuse(self, watcher: Watcher, misuse: str) -> None:
        """Counts and logs a mistake of a plugin: a call without effect, or with an unintended effect."""
        _report_misuse(self._counters, self._session.log, watcher.name, misuse)

    def report_late_admission(self, watcher: Watcher) -> None:
        """Counts and logs that ``admit`` of a plugin timed out."""
        self._counters.count("callback_timeouts", watcher.name)
        text = "plugin {plugin}: admit timed out and was cancelled; {consequence}"
        self._session.log.warn(text, plugin=watcher.name, consequence=_consequence(watcher, "admit"))

    def _warn_of_no_recording(self) -> None:
        self._counters.count("unrecorded_sessions")
        if recorders := self._route.recorders:
            text = "not recorded: plugin {plugin} did not record this call"
            self._session.log.warn(text, plugin=", ".join(recorders))
        else:
            text = "not recorded: no plugin of the route records calls (set record = false in [[route]] if intended)"
            self._session.log.warn(text)

    def _warn_of_partial_recording(self, watcher: Watcher, callback: str, failure: Failure) -> None:
        """Logs that a recording ends early, once per call and plugin, unless no audio can be lost by the failure."""
        if callback in ("admit", "observe", "closed") or watcher.name in self._partial:
            return
        self._partial.add(watcher.name)
        reason = "it timed out" if failure.check(ObserverTimeout) else in_words(failure.value or Exception())
        text = "not recorded from now on: plugin {plugin} failed in {callback}: {reason}; earlier audio is kept"
        self._session.log.error(text, plugin=watcher.name, callback=callback, reason=reason)

    def _report_lost_audio(self, watcher: Watcher, samples: int) -> None:
        self._counters.count("overflow_samples", watcher.name, samples)
        if watcher.required:
            self._give_up(watcher.name)
        if watcher.name not in self._slow:
            self._slow.add(watcher.name)
            self._session.log.warn(
                "plugin {plugin} is too slow: its queue is full, audio dropped", plugin=watcher.name
            )

    def _report_dropped_message(self, watcher: Watcher) -> None:
        self._counters.count("overflow_messages", watcher.name)
        self.view(watcher).missed_messages += 1
        if f"messages of {watcher.name}" not in self._slow:
            self._slow.add(f"messages of {watcher.name}")
            text = "plugin {plugin} is too slow: its queue is full, messages to the client dropped from it"
            self._session.log.warn(text, plugin=watcher.name)


_EventCall = Callable[[Any], tuple[Any, ...]]

#: The call of every observer for an event: the method and its arguments.
_CALLS: Final[dict[type[events.Event], _EventCall]] = {
    events.Paused: lambda event: ("paused",),
    events.Resumed: lambda event: ("resumed",),
    events.LanguageChanged: lambda event: ("language_changed", event.language),
    events.RoundTrip: lambda event: ("round_trip", event.nanoseconds),
    events.Dtmf: lambda event: ("dtmf", event.digit),
    events.Playback: lambda event: ("playback", event.started),
    events.TimeLimitNear: lambda event: ("time_limit_near", event.seconds),
}
#: The same for observers that receive audio.
_SINK_CALLS: Final[dict[type[events.Event], _EventCall]] = {
    events.Gap: lambda event: ("gap", event),
    events.AudioWhilePaused: lambda event: ("audio_while_paused", event.position, event.size),
    events.AudioSent: lambda event: ("audio_sent", event.start, event.data),
    events.AudioDropped: lambda event: ("audio_dropped", event.start),
}


def _kind(value: object) -> str:
    return type(value).__qualname__


def _limit(counters: Counters, log: Any, plugin: str, is_first: bool) -> None:
    counters.count("rate_limited_sends", plugin)
    if is_first:
        text = "plugin {plugin} exceeds its rate limit: the messages above it are not sent"
        log.warn(text, plugin=plugin)


def _log_disconnect(log: Any, plugin: str, reason: str, info: str | None) -> None:
    shown = reason if info is None else f"{reason}, {info}"
    log.info("plugin {plugin} ends the session: {reason}", plugin=plugin, reason=shown)


def _report_misuse(counters: Counters, log: Any, plugin: str, misuse: str) -> None:
    counters.count("plugin_failures", plugin)
    log.error("plugin {plugin} has a mistake: {misuse}", plugin=plugin, misuse=misuse)


def _consequence(watcher: Watcher, callback: str) -> str:
    if watcher.required:
        return "the plugin is required, so the session ends"
    match callback:
        case "observe":
            return "it does not observe this session"
        case "admit":
            return "its changes to this session are ignored"
        case "reject":
            return "the session is rejected nevertheless"
        case "closed":
            return "the session had already ended"
    return "it receives no more of this session, except closed"
