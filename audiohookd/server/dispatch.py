"""What happens in a session, to everyone who watches it.

Each observer has a mailbox of its own: one that is slow, or fails, harms nobody else's view.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct
from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from audiohookd.interfaces import IPlugin, IRecorder, ISession, ISessionObserver, Lapse
from audiohookd.observe.counters import Counters
from audiohookd.protocol import events
from audiohookd.server.connection_end import ConnectionEnd
from audiohookd.server.mailbox import Mailbox


class Watcher(Struct, frozen=True):
    """A plugin on a route."""

    name: str
    plugin: IPlugin
    required: bool = False

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
    """

    def __init__(
        self,
        session: ISession,
        route: RoutePlugins,
        counters: Counters,
        give_up: Callable[[str], None],
    ) -> None:
        self._session = session
        self._route = route
        self._is_recorded = False
        self._counters = counters
        self._give_up = give_up
        self._mailboxes: list[Mailbox] = []
        self._names: list[str] = []  # of the plugins that have these
        self._sinks: list[Mailbox] = []
        self._slow: set[str] = set()

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
        """Wait for nobody any more: whoever has not got its ``closed`` gets it now. After ``end``."""
        for mailbox in self._mailboxes:
            mailbox.hurry()

    def abandon(self) -> None:
        """Do not even wait for who has got its ``closed``: it counts as failed. After ``hurry``."""
        for mailbox in self._mailboxes:
            mailbox.abandon()

    def _let_go(self, _: object) -> None:
        """Observers hold the session, and the session may hold us: what a call used shall not wait for the gc."""
        self._mailboxes, self._sinks = [], []

    def _call(self, method: str, *arguments: Any) -> None:
        for mailbox in self._mailboxes:
            mailbox.call(method, *arguments)

    def _ask(self, watcher: Watcher) -> None:
        def failed(failure: Failure) -> None:
            self.report(watcher, failure)

        def lost(samples: int) -> None:
            self._lose(watcher, samples)

        try:
            observer = watcher.plugin.observe(self._session)
            if observer is None:
                return
            if not ISessionObserver.providedBy(observer):
                raise TypeError(f"{observer!r} does not provide ISessionObserver")
            self._mailboxes.append(Mailbox(observer, self._session, failed, lost))
            self._names.append(watcher.name)
            self._is_recorded = self._is_recorded or watcher.records
        except Exception:
            self.report(watcher)

    def report(self, watcher: Watcher, failure: Failure | None = None) -> None:
        """A plugin failed: count it, say so, and end the session if it must not run without that plugin.

        Who says itself that it goes on has told the sysadmin, if that is called for: no traceback.

        :param failure: without it, the exception that is being handled.
        """
        self._counters.count("plugin_failures", watcher.name)
        if failure is not None and failure.check(Lapse):
            reason = failure.getErrorMessage()
            self._session.log.debug("plugin {plugin} lost a part: {reason}", plugin=watcher.name, reason=reason)
        else:
            self._session.log.failure("plugin {plugin} failed", failure, plugin=watcher.name)
        if watcher.required:
            self._give_up(watcher.name)

    def _warn_of_no_recording(self) -> None:
        self._counters.count("unrecorded")
        if recorders := self._route.recorders:
            text = "not recorded: plugin {plugin} did not record this call"
            self._session.log.warn(text, plugin=", ".join(recorders))
        else:
            text = "not recorded: no plugin of the route records calls (record = false in [[route]] if this is meant)"
            self._session.log.warn(text)

    def _lose(self, watcher: Watcher, samples: int) -> None:
        self._counters.count("overflow_samples", watcher.name, samples)
        if watcher.name not in self._slow:
            self._slow.add(watcher.name)
            self._session.log.warn("plugin {plugin} is too slow: it does not get all audio", plugin=watcher.name)
