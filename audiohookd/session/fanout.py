"""What happens in a session, to everyone who watches it.

Each observer has a mailbox of its own: one that is slow, or fails, harms nobody else's view.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec import Struct, field
from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from audiohookd.interfaces import IPlugin, IRecorder, ISession, ISessionObserver, PartialLoss
from audiohookd.observe.counters import Counters
from audiohookd.protocol import events
from audiohookd.runtime import foreign_code
from audiohookd.runtime.error_text import in_words, text_of
from audiohookd.runtime.plugin_checks import mistakes_of_observer
from audiohookd.session.connection_end import ConnectionEnd
from audiohookd.session.observer_queue import ObserverQueue, ObserverTimeout
from audiohookd.session.session_view import SessionView


def call_now(function: Callable[..., object], *arguments: object) -> None:
    """Stands for ``reactor.callFromThread`` where there is only one thread."""
    function(*arguments)


class Watcher(Struct, frozen=True):
    """A plugin on a route."""

    name: str
    plugin: IPlugin
    required: bool = False
    #: Names of the classes of its observers that were looked through for mistakes.
    checked: set[str] = field(default_factory=set)

    @property
    def records(self) -> bool:
        """The plugin records the sessions that it observes."""
        return bool(IRecorder.providedBy(self.plugin))


class RoutePlugins(Struct, frozen=True):
    """The plugins of a route, in the order of delivery.

    ``must_record``: a call that none of them records is worth a warning.
    """

    watchers: Sequence[Watcher] = ()
    must_record: bool = False

    @property
    def recorders(self) -> list[str]:
        """The names of the plugins that record."""
        return [watcher.name for watcher in self.watchers if watcher.records]


class Fanout:
    """Delivers one session's events and audio to its observers.

    :param give_up: called with a plugin's name when a required one failed.
    :param seconds: from any origin, never going back.
    :param from_thread: calls something in the reactor thread, from any thread.
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
        self._mailboxes: list[ObserverQueue] = []
        self._names: list[str] = []  # of the plugins that have these
        self._sinks: list[ObserverQueue] = []
        self._slow: set[str] = set()
        self._partial: set[str] = set()  # recorders whose recording ended before the call

    @property
    def unfinished(self) -> list[str]:
        """The names of the plugins that are not done with the session."""
        mailboxes = zip(self._names, self._mailboxes, strict=False)  # no mailboxes are left after the end
        return [name for name, mailbox in mailboxes if not mailbox.finished.called]

    def open(self) -> None:
        """The session is open: ask the plugins for their observers."""
        for watcher in self._route.watchers:
            self._ask(watcher)
        self._sinks = [mailbox for mailbox in self._mailboxes if mailbox.takes_audio]
        self._call("opened")

    @property
    def watchers(self) -> Sequence[Watcher]:
        """The plugins on the route."""
        return self._route.watchers

    def view(self, watcher: Watcher) -> SessionView:
        """The session as this plugin sees it."""
        if watcher.name not in self._views:
            # Not a method: the view would keep us alive, and a refused session leaves that to the garbage collector.
            limited = partial(_limit, self._counters, self._session.log, watcher.name)
            misused = partial(self._from_thread, _report_misuse, self._counters, self._session.log, watcher.name)
            disconnected = partial(_log_disconnect, self._session.log, watcher.name)
            view = SessionView(self._session, self._seconds, limited, misused, disconnected)
            self._views[watcher.name] = view
        return self._views[watcher.name]

    @property
    def awaits_opened(self) -> bool:
        """A required plugin is not done with ``opened``, if that is all that was called."""
        return any(mailbox.is_busy for mailbox in self._required)

    def expire_opened(self) -> None:
        """A required plugin that is still busy with ``opened`` has failed."""
        for mailbox in self._required:
            mailbox.expire("opened")

    def audio(self, frame: bytes) -> None:
        """Audio for the sinks, the same bytes for all of them."""
        for mailbox in self._sinks:
            mailbox.audio(frame)

    def message(self, outgoing: bool, data: bytes, at: float) -> None:
        """A protocol message crossed the wire at ``at`` (seconds since the epoch)."""
        for mailbox in self._mailboxes:
            mailbox.call("message", outgoing, data, at)

    def deliver(self, event: events.Event) -> None:
        """Any other event that observers know."""
        match event:
            case events.Gap():
                for mailbox in self._sinks:
                    mailbox.call("gap", event)
            case events.Paused():
                self._call("paused")
            case events.Resumed():
                self._call("resumed")
            case events.LanguageChanged(language):
                self._session.language = language
                self._call("language_changed", language)
            case events.RoundTrip(nanoseconds):
                self._call("round_trip", nanoseconds)
            case events.Dtmf(digit):
                self._call("dtmf", digit)
            case events.Playback(started):
                self._call("playback", started)

    def connection_lost(self, end: ConnectionEnd | None) -> None:
        """The connection is gone, before the session was over or after."""
        self._session.connection_end = end

    def closing(self, reason: str) -> "Deferred[Any]":
        """The client closes. Fires when all observers have said their last word."""
        self._call("closing", reason)
        return DeferredList([mailbox.drained() for mailbox in self._mailboxes])

    def end(self, reason: str) -> "Deferred[Any]":
        """The session is over. Fires when all observers are done with ``closed``."""
        for mailbox in self._mailboxes:
            mailbox.end(reason)
        if self._route.must_record and not self._is_recorded:
            self._warn_of_no_recording()
        return DeferredList([mailbox.finished for mailbox in self._mailboxes]).addCallback(self._let_go)

    def hurry(self) -> None:
        """Cancels what observers are busy with; each that did not get its ``closed`` gets it now. After ``end``."""
        for mailbox in self._mailboxes:
            mailbox.drop_pending()

    def abandon(self) -> None:
        """Cancels each ``closed`` that is not done: it counts as failed. After ``hurry``."""
        for mailbox in self._mailboxes:
            mailbox.force_finish()

    def _let_go(self, _: object) -> None:
        """Observers hold the session, and the session may hold us: what a call used shall not wait for the gc."""
        self._mailboxes, self._sinks, self._required = [], [], []
        for view in self._views.values():
            view.end()
        self._views.clear()

    def _call(self, method: str, *arguments: Any) -> None:
        for mailbox in self._mailboxes:
            mailbox.call(method, *arguments)

    def _ask(self, watcher: Watcher) -> None:
        mailbox = foreign_code.call(self._observe, watcher)
        if isinstance(mailbox, Failure):
            self.report(watcher, "observe", mailbox)
        elif mailbox is not None:
            self._mailboxes.append(mailbox)
            self._names.append(watcher.name)
            self._is_recorded = self._is_recorded or watcher.records
            if watcher.required:
                self._required.append(mailbox)

    def _observe(self, watcher: Watcher) -> ObserverQueue | None:
        observer = watcher.plugin.observe(self.view(watcher))
        if observer is None:
            return None
        if not ISessionObserver.providedBy(observer):
            raise TypeError(f"observe must return an observer or None: {_kind(observer)} is no ISessionObserver")
        self._check_class(watcher, type(observer))
        return ObserverQueue(
            observer,
            self._session,
            partial(self.report, watcher),
            partial(self._lose, watcher),
            partial(self._leave_out, watcher),
            watcher.name,
        )

    def _check_class(self, watcher: Watcher, observer: type) -> None:
        """Names the mistakes in a class that could not be found at the start, once."""
        name = f"{observer.__module__}.{observer.__qualname__}"
        if name not in watcher.checked:
            watcher.checked.add(name)
            for mistake in mistakes_of_observer(observer):
                self.report_misuse(watcher, mistake)

    def report(self, watcher: Watcher, callback: str, failure: Failure) -> None:
        """A plugin failed in ``callback``: count it, log it, and end the session if it requires the plugin.

        A :class:`Lapse` has no traceback: where it matters, the plugin itself has logged it.
        """
        log, plugin = self._session.log, watcher.name
        self._counters.count("plugin_failures", plugin)
        consequence = _consequence(watcher, callback)
        if failure.check(PartialLoss):
            log.debug("plugin {plugin} lost a part: {reason}", plugin=plugin, reason=text_of(failure.value))
        elif failure.check(ObserverTimeout):
            self._counters.count("callback_timeouts", plugin)
            text = "plugin {plugin} failed: {callback} took too long and is cancelled; {consequence}"
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
        """A plugin did what has no effect, or not the effect that its author meant."""
        _report_misuse(self._counters, self._session.log, watcher.name, misuse)

    def report_late_admission(self, watcher: Watcher) -> None:
        """``admit`` of a plugin is cancelled because the client cannot wait for it any longer."""
        self._counters.count("callback_timeouts", watcher.name)
        text = "plugin {plugin}: admit took too long and is cancelled; {consequence}"
        self._session.log.warn(text, plugin=watcher.name, consequence=_consequence(watcher, "admit"))

    def _warn_of_no_recording(self) -> None:
        self._counters.count("unrecorded_sessions")
        if recorders := self._route.recorders:
            text = "not recorded: plugin {plugin} did not record this call"
            self._session.log.warn(text, plugin=", ".join(recorders))
        else:
            text = "not recorded: no plugin of the route records calls (record = false in [[route]] if this is meant)"
            self._session.log.warn(text)

    def _warn_of_partial_recording(self, watcher: Watcher, callback: str, failure: Failure) -> None:
        """Once per call and plugin; where there is no observer, or nothing is left to record, that is not it."""
        if callback in ("admit", "observe", "closed") or watcher.name in self._partial:
            return
        self._partial.add(watcher.name)
        reason = "it took too long" if failure.check(ObserverTimeout) else in_words(failure.value or Exception())
        text = "not recorded from now on: plugin {plugin} failed in {callback}: {reason}; what it recorded is kept"
        self._session.log.error(text, plugin=watcher.name, callback=callback, reason=reason)

    def _lose(self, watcher: Watcher, samples: int) -> None:
        self._counters.count("overflow_samples", watcher.name, samples)
        if watcher.required:
            self._give_up(watcher.name)
        if watcher.name not in self._slow:
            self._slow.add(watcher.name)
            self._session.log.warn("plugin {plugin} is too slow: it does not get all audio", plugin=watcher.name)

    def _leave_out(self, watcher: Watcher) -> None:
        self._counters.count("overflow_messages", watcher.name)
        self.view(watcher).missed_messages += 1
        if f"messages of {watcher.name}" not in self._slow:
            self._slow.add(f"messages of {watcher.name}")
            text = "plugin {plugin} is too slow: it does not get all messages that are sent to the client"
            self._session.log.warn(text, plugin=watcher.name)


def _kind(value: object) -> str:
    return type(value).__qualname__


def _limit(counters: Counters, log: Any, plugin: str, is_first: bool) -> None:
    counters.count("rate_limited_sends", plugin)
    if is_first:
        text = "plugin {plugin} sends more than it may: messages beyond the limit are not sent"
        log.warn(text, plugin=plugin)


def _log_disconnect(log: Any, plugin: str, reason: str, info: str | None) -> None:
    why = reason if info is None else f"{reason}, {info}"
    log.info("plugin {plugin} ends the session: {why}", plugin=plugin, why=why)


def _report_misuse(counters: Counters, log: Any, plugin: str, misuse: str) -> None:
    counters.count("plugin_failures", plugin)
    log.error("plugin {plugin} has a mistake: {misuse}", plugin=plugin, misuse=misuse)


def _consequence(watcher: Watcher, callback: str) -> str:
    if watcher.required:
        return "the plugin is required, so the session ends"
    match callback:
        case "observe":
            return "it does not watch this session"
        case "admit":
            return "its answer does not count for this session"
        case "refuse":
            return "the session is refused all the same"
        case "closed":
            return "the session had ended before"
    return "of this session it gets only closed"
