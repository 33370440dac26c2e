"""Merges the keys of all sources, and reloads them in the background. A handshake never waits for a source."""

from collections.abc import Callable, Collection, Sequence
from functools import partial

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.auth.keys.model import IKeySource, Key, Keys, KeySourceError, merged
from audiohookd.auth.keys.parse import EXAMPLE
from audiohookd.interfaces import IWorkers
from audiohookd.runtime.error_text import text_of
from audiohookd.runtime.loops import SupervisedLoop

#: Seconds between two reloads that unknown keys can cause.
POLL_INTERVAL = 60.0
#: Longest time in seconds until a source that failed is retried.
RETRY_AFTER = 60.0
#: Random variation of each interval, as a fraction of it, so that many daemons do not poll at the same time.
JITTER = 0.1

Load = Callable[[], Keys | None]


class _SourceState:
    """A source, and the state of its loads."""

    def __init__(self, source: IKeySource, loop: SupervisedLoop) -> None:
        self.source = source
        self.loop = loop
        self.keys = Keys({})
        #: The error of the last load; None if it succeeded.
        self.error: str | None = None
        #: The load or poll that runs in a thread.
        self.task: Deferred[Keys | None] | None = None
        #: Whether to load the source again when the task ends.
        self.reload_pending = False
        #: Whether the next load, and the running one, log their result even if it has not changed.
        self.log_next = self.log_result = False


class Keyring(Service):
    """The keys of all sources, with immediate look-up. Polls the sources while it runs. For the reactor thread.

    If a load fails, the last good keys of the source stay valid. The load is retried, and each failure is counted.
    The log has one line when the failures begin, one for each new reason, and one when the source recovers.

    :param workers: a pool with a thread for each source. A source never has two tasks at a time.
    :param count: as :meth:`audiohookd.observe.counters.Counters.count`.
    :param random: returns a number from 0 up to, but not including, 1.
    :param routes: the paths of the configuration. A key for any other path is warned of. None: any path may exist.
    :param tell: called with the reason when no source has keys, and with None when one has keys again.
    """

    name = "keyring"
    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        workers: IWorkers,
        sources: Sequence[IKeySource],
        count: Callable[..., object],
        random: Callable[[], float],
        routes: Collection[str] | None = None,
        tell: Callable[[str | None], None] = lambda reason: None,
    ) -> None:
        self._reactor = reactor
        self._workers = workers
        self._count = count
        self._random = random
        self._routes = routes
        self._tell = tell
        self._is_empty = False
        self._states = [_SourceState(source, self._loop(source)) for source in sources]
        self._keys = Keys({})
        self._warnings: list[str] = []
        self._unknown_key_at: float | None = None

    def __repr__(self) -> str:
        return f"<Keyring: {self._keys!r}>"

    def _loop(self, source: IKeySource) -> SupervisedLoop:
        def poll() -> None:
            (state,) = [state for state in self._states if state.source is source]
            self._poll(state)

        return SupervisedLoop(self._reactor, f"keys of {source.name}", poll, source.interval or 0.0, self._count)

    @property
    def loops(self) -> list[SupervisedLoop]:
        """The polling loops, one for each source."""
        return [state.loop for state in self._states]

    @property
    def keys(self) -> Keys:
        """The current keys."""
        return self._keys

    def sizes(self) -> dict[str, int]:
        """Returns by source name how many keys each source has."""
        return {state.source.name: len(state.keys) for state in self._states}

    def failing(self) -> dict[str, int]:
        """Returns by source name whether the last load failed: 1 or 0."""
        return {state.source.name: int(state.error is not None) for state in self._states}

    def prepare(self) -> None:
        """Loads all sources, one after the other. Blocks: for start-up only.

        :raises KeySourceError: a source cannot be loaded. The text begins with its name.
        """
        for state in self._states:
            try:
                state.keys = state.source.load()
            except KeySourceError as error:
                raise type(error)(f"{state.source.name}: {error}") from None
        self._merge()

    def lookup(self, api_key: str) -> Key | None:
        """Returns None for an unknown key. It may be a new one, so this starts a reload, at most once a minute."""
        key = self._keys.lookup(api_key)
        if key is None:
            self._load_for_unknown_key()
        return key

    def reload(self) -> None:
        """Reloads all sources, changed or not, and logs the result of each."""
        for state in self._states:
            if state.source.interval is None:
                self._log.info(
                    "{source}: not reloaded, because it is read only at start-up", source=state.source.name
                )
            state.log_next = True
        self._load_all()

    def startService(self) -> None:
        """Starts to poll the sources."""
        super().startService()
        for state in self._states:
            if state.source.interval is not None:
                state.loop.start()
            self._schedule_poll(state)

    def stopService(self) -> None:
        """Stops to poll, without waiting for running loads."""
        super().stopService()
        for state in self._states:
            state.loop.stop()
            if state.task is not None:
                state.task.cancel()

    def _load_for_unknown_key(self) -> None:
        now = self._reactor.seconds()
        if self.running and (self._unknown_key_at is None or now - self._unknown_key_at >= POLL_INTERVAL):
            self._unknown_key_at = now
            self._load_all()

    def _load_all(self) -> None:
        for state in self._states:
            if state.source.interval is not None:
                self._load(state)

    def _schedule_poll(self, state: _SourceState) -> None:
        """Sets the time of the next poll."""
        if state.source.interval is None:
            return
        seconds = min(state.source.interval, RETRY_AFTER) if state.error is not None else state.source.interval
        seconds *= 1 + JITTER * (2 * self._random() - 1)
        state.loop.next_in(seconds)

    def _poll(self, state: _SourceState) -> None:
        if state.task is None:
            # A source that failed is loaded even if it has not changed, so that every failed poll is counted.
            self._run(state, partial(_changed, state.source) if state.error is None else state.source.load)
        else:
            state.log_result, state.log_next = state.log_result or state.log_next, False
            self._failed(state, "does not answer")
            self._schedule_poll(state)

    def _load(self, state: _SourceState) -> None:
        if not self.running:
            return
        state.reload_pending = state.task is not None
        if state.task is None:
            self._run(state, state.source.load)

    def _run(self, state: _SourceState, load: Load) -> None:
        """Runs ``load`` in a thread. If it hangs, the next poll logs that."""
        self._schedule_poll(state)
        state.log_result, state.log_next = state.log_next, False
        state.task = self._workers.do(load)
        state.task.addCallbacks(partial(self._loaded, state), partial(self._not_loaded, state))
        state.task.addErrback(state.loop.failed).addBoth(partial(self._done, state))

    def _done(self, state: _SourceState, _: None) -> None:
        state.task = None
        reload_pending, state.reload_pending = state.reload_pending, False
        if not self.running:
            return
        self._schedule_poll(state)
        if reload_pending:
            self._load(state)

    def _loaded(self, state: _SourceState, keys: Keys | None) -> None:
        """Handles the result of a load. None: the source has not changed."""
        if keys is None:
            return
        if state.error is not None:
            state.error = None
            self._log.info("{source}: recovered, keys are loaded", source=state.source.name)
        if keys != state.keys:
            state.keys = keys
            self._log.info("{source}: keys reloaded, changed: {keys}", source=state.source.name, keys=repr(keys))
            self._merge()
        elif state.log_result:
            self._log.info("{source}: keys reloaded, unchanged: {keys}", source=state.source.name, keys=repr(keys))

    def _not_loaded(self, state: _SourceState, failure: Failure) -> None:
        if not self.running:
            return
        error = failure.value
        # The text of an unexpected error may contain a secret.
        self._failed(state, text_of(error) if isinstance(error, KeySourceError) else type(error).__name__)

    def _failed(self, state: _SourceState, reason: str) -> None:
        self._count("key_refresh_failures", state.source.name)
        if reason != state.error or state.log_result:
            state.error, state.log_result = reason, False
            text = "{source}: cannot load keys, the last good keys stay valid: {reason}"
            self._log.error(text, source=state.source.name, reason=reason)

    def _merge(self) -> None:
        self._keys, warnings = merged([(state.source.name, state.keys) for state in self._states], self._routes)
        for warning in warnings:
            if warning not in self._warnings:
                self._log.warn("{warning}", warning=warning)
        self._warnings = warnings
        if self._is_empty is not (not self._keys):
            self._is_empty = not self._keys
            sources = ", ".join(state.source.name for state in self._states)
            if self._is_empty:
                text = "no API keys in {sources}, all requests are rejected: write {example} there"
                self._log.error(text, sources=sources, example=EXAMPLE)
            self._tell(f"no keys in {sources}" if self._is_empty else None)


def _changed(source: IKeySource) -> Keys | None:
    """Loads the source if it has changed. Runs in a thread."""
    return source.load() if source.changed() else None
