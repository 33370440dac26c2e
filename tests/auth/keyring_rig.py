"""A keyring with scripted sources, a clock, and threads that run on demand."""

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger, formatEvent
from zope.interface import implementer

from audiohookd.auth.keys.keyring import Keyring
from audiohookd.auth.keys.model import UNSIGNED, IKeySource, Key, Keys
from audiohookd.observe.counters import Counters
from audiohookd.testing import MemoryWorkers

OLD = Keys({"a": Key((b"old, and long enough",))})
NEW = Keys({"a": Key((b"new, and long enough",)), "b": Key((UNSIGNED,))})
INTERVAL = 300.0


@implementer(IKeySource)
class Source:
    """One that gives what a test says: keys, or an exception."""

    def __init__(self, name: str = "auth.aws", interval: float | None = INTERVAL) -> None:
        self.name = name
        self.interval = interval
        self.gives: Keys | Exception = OLD
        self.is_changed = True
        self.looks = self.loads = 0

    def changed(self) -> bool:
        self.looks += 1
        return self.is_changed

    def load(self) -> Keys:
        self.loads += 1
        if isinstance(self.gives, Exception):
            raise self.gives
        return self.gives


class Rig:
    """A keyring that is started, with all its sources loaded once."""

    def __init__(self, *sources: Source, random: Callable[[], float] = lambda: 0.5) -> None:
        self.clock = Clock()
        self.pool = MemoryWorkers()
        self.counters = Counters()
        self.logged: list[LogEvent] = []
        self.obstacles: list[str | None] = []
        self.keyring = Keyring(
            self.clock, self.pool, sources, self.counters.count, random, tell=self.obstacles.append
        )
        self.keyring._log = Logger(observer=self.logged.append)  # type: ignore[arg-type]
        self.keyring.prepare()
        self.keyring.startService()

    def wait(self, seconds: float = INTERVAL) -> None:
        """Advances the clock, and runs the due work."""
        self.clock.advance(seconds)
        self.pool.run()

    @property
    def lines(self) -> list[str]:
        return [formatEvent(event) for event in self.logged]

    def secrets(self, api_key: str) -> tuple[bytes, ...] | None:
        key = self.keyring.lookup(api_key)
        return None if key is None else key.secrets

    def failures(self, name: str = "auth.aws") -> int:
        return self.counters.value("key_refresh_failures", name)
