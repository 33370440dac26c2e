"""The keys that count now, and how they stay up to date. Nothing here is waited for by a handshake."""

from collections.abc import Callable, Collection, Sequence
from functools import partial

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.auth.key_json import EXAMPLE
from audiohookd.auth.keys import IKeySource, Key, Keys, KeySourceError, merged
from audiohookd.interfaces import IWorkers
from audiohookd.runtime.faults import text_of
from audiohookd.runtime.loops import SupervisedLoop

#: Seconds at least between two times that unknown keys have all sources asked.
ASK_EVERY = 60.0
#: Seconds at most to the next try after one that failed.
RETRY_AFTER = 60.0
#: Each wait is by chance shorter or longer, up to this part of it: many daemons shall not ask together.
JITTER = 0.1

Load = Callable[[], Keys | None]


class _Held:
    """A source, and what is known of it."""

    def __init__(self, source: IKeySource, loop: SupervisedLoop) -> None:
        self.source = source
        self.loop = loop
        self.keys = Keys({})
        #: Why it could not be loaded the last time; None: it could.
        self.fault: str | None = None
        #: What is being done with it in a thread.
        self.work: Deferred[Keys | None] | None = None
        #: It is to be loaded again once that is done.
        self.again = False
        #: Whether the next load, and the one that is under way, have to tell their result, whatever it is.
        self.asked = self.tells = False


class Keyring(Service):
    """All sources' keys: looked up at once, and refreshed from its start to its stop. For the reactor thread.

    A source that fails keeps what it gave last. It is tried again and again, and each failure is counted; the log has
    one line when that begins, one for each other reason, and one when it is over.

    :param workers: with a thread for each source, none of which is given two pieces of work at a time.
    :param count: as :meth:`audiohookd.observe.counters.Counters.count`.
    :param random: evenly from 0 up to, but not including, 1.
    :param routes: the paths that there are: who has a key for another one is told. None: any may be.
    :param tell: called with the reason when there are no keys at all any more, and with None when there are.
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
        tell: Callable[[str | None], None] = lambda obstacle: None,
    ) -> None:
        self._reactor = reactor
        self._workers = workers
        self._count = count
        self._random = random
        self._routes = routes
        self._tell = tell
        self._is_empty = False
        self._held = [_Held(source, self._loop(source)) for source in sources]
        self._keys = Keys({})
        self._remarks: list[str] = []
        self._asked: float | None = None

    def __repr__(self) -> str:
        return f"<Keyring: {self._keys!r}>"

    def _loop(self, source: IKeySource) -> SupervisedLoop:
        def look() -> None:
            (held,) = [held for held in self._held if held.source is source]
            self._look(held)

        return SupervisedLoop(self._reactor, f"keys of {source.name}", look, source.interval or 0.0, self._count)

    @property
    def loops(self) -> list[SupervisedLoop]:
        """One for each source."""
        return [held.loop for held in self._held]

    @property
    def keys(self) -> Keys:
        """Those of now."""
        return self._keys

    def sizes(self) -> dict[str, int]:
        """How many keys each source gave last."""
        return {held.source.name: len(held.keys) for held in self._held}

    def failing(self) -> dict[str, int]:
        """1 for each source that could not be loaded the last time, 0 for the others."""
        return {held.source.name: int(held.fault is not None) for held in self._held}

    def prepare(self) -> None:
        """Loads all sources, one after the other. Blocks: for start-up only.

        :raises KeySourceError: one cannot be loaded. The text begins with its name.
        """
        for held in self._held:
            try:
                held.keys = held.source.load()
            except KeySourceError as fault:
                raise type(fault)(f"{held.source.name}: {fault}") from None
        self._merge()

    def lookup(self, api_key: str) -> Key | None:
        """None for an unknown key, which may be known in a moment: the sources are asked, at most once a minute."""
        key = self._keys.lookup(api_key)
        if key is None:
            self._ask()
        return key

    def reload(self) -> None:
        """Has all sources loaded again, changed or not, and each of them say in the log what came of it."""
        for held in self._held:
            if held.source.interval is None:
                self._log.info("{source}: is read at the start alone", source=held.source.name)
            held.asked = True
        self._load_all()

    def startService(self) -> None:
        """From now on the sources are looked at."""
        super().startService()
        for held in self._held:
            if held.source.interval is not None:
                held.loop.start()
            self._wait(held)

    def stopService(self) -> None:
        """What is being loaded is not waited for."""
        super().stopService()
        for held in self._held:
            held.loop.stop()
            if held.work is not None:
                held.work.cancel()

    def _ask(self) -> None:
        now = self._reactor.seconds()
        if self.running and (self._asked is None or now - self._asked >= ASK_EVERY):
            self._asked = now
            self._load_all()

    def _load_all(self) -> None:
        for held in self._held:
            if held.source.interval is not None:
                self._load(held)

    def _wait(self, held: _Held) -> None:
        """For the next look, whatever is waited for already."""
        if held.source.interval is None:
            return
        seconds = min(held.source.interval, RETRY_AFTER) if held.fault is not None else held.source.interval
        seconds *= 1 + JITTER * (2 * self._random() - 1)
        held.loop.next_in(seconds)

    def _look(self, held: _Held) -> None:
        if held.work is None:
            # What is unchanged is read nevertheless while it fails: it is no better for that, and counts once more.
            self._do(held, partial(_changed, held.source) if held.fault is None else held.source.load)
        else:
            held.tells, held.asked = held.tells or held.asked, False
            self._failed(held, "does not answer")
            self._wait(held)

    def _load(self, held: _Held) -> None:
        if not self.running:
            return
        held.again = held.work is not None
        if held.work is None:
            self._do(held, held.source.load)

    def _do(self, held: _Held, load: Load) -> None:
        """In a thread. Should it hang, the next look finds that."""
        self._wait(held)
        held.tells, held.asked = held.asked, False
        held.work = self._workers.do(load)
        held.work.addCallbacks(partial(self._loaded, held), partial(self._not_loaded, held))
        held.work.addErrback(held.loop.failed).addBoth(partial(self._done, held))

    def _done(self, held: _Held, _: None) -> None:
        held.work = None
        again, held.again = held.again, False
        if not self.running:
            return
        self._wait(held)
        if again:
            self._load(held)

    def _loaded(self, held: _Held, keys: Keys | None) -> None:
        """None: nothing has changed."""
        if keys is None:
            return
        if held.fault is not None:
            held.fault = None
            self._log.info("{source}: keys are loaded again", source=held.source.name)
        if keys != held.keys:
            held.keys = keys
            self._log.info("{source}: the keys have changed: {keys}", source=held.source.name, keys=repr(keys))
            self._merge()
        elif held.tells:
            self._log.info("{source}: the keys are the same: {keys}", source=held.source.name, keys=repr(keys))

    def _not_loaded(self, held: _Held, failure: Failure) -> None:
        if not self.running:
            return
        fault = failure.value
        # The text of what nobody expected may be anything.
        self._failed(held, text_of(fault) if isinstance(fault, KeySourceError) else type(fault).__name__)

    def _failed(self, held: _Held, reason: str) -> None:
        self._count("key_refresh_failures", held.source.name)
        if reason != held.fault or held.tells:
            held.fault, held.tells = reason, False
            text = "{source}: keys cannot be loaded, those that it gave last stay valid: {reason}"
            self._log.error(text, source=held.source.name, reason=reason)

    def _merge(self) -> None:
        self._keys, remarks = merged([(held.source.name, held.keys) for held in self._held], self._routes)
        for remark in remarks:
            if remark not in self._remarks:
                self._log.warn("{remark}", remark=remark)
        self._remarks = remarks
        if self._is_empty is not (not self._keys):
            self._is_empty = not self._keys
            sources = ", ".join(held.source.name for held in self._held)
            if self._is_empty:
                text = "there are no API keys in {sources}, all requests are rejected: write {example} there"
                self._log.error(text, sources=sources, example=EXAMPLE)
            self._tell(f"no keys in {sources}" if self._is_empty else None)


def _changed(source: IKeySource) -> Keys | None:
    """In a thread."""
    return source.load() if source.changed() else None
