"""The daemon as plugins see it. Each plugin table has an own :class:`PluginDaemon`, because two can use one class."""

from collections.abc import Callable
from threading import current_thread, get_ident
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from zope.interface import implementer

from audiohookd.config.errors import address
from audiohookd.interfaces import IDaemon, ISpool, WrongThread
from audiohookd.runtime.workers import Workers

#: Seconds that a stop waits for work of plugins that was already cut off, such as uploads; see Workers.
PATIENCE = 4.0

T = TypeVar("T")

_log = Logger()


class PluginWorkers(Workers):
    """A pool that rejects work from other threads, and logs it, because a plugin may drop the failed Deferred."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._thread = get_ident()
        self._was_misused = False

    def do(self, work: Callable[[], T]) -> "Deferred[T]":
        """See :class:`IWorkers`."""
        if get_ident() == self._thread:
            return super().do(work)
        text = f"work was given to the pool in thread {current_thread().name!r}, not in the reactor thread"
        if not self._was_misused:
            self._was_misused = True
            _log.error("{pool}: {text}: rejected; use daemon.reactor.callFromThread", pool=self.name, text=text)
        return fail(WrongThread(f"{text}: use daemon.reactor.callFromThread"))


class Daemon:
    """The IDaemon of all plugins. ``pools`` holds their worker pools, which the service tree starts and stops.

    :param now: seconds since the epoch.
    :param count: as :meth:`audiohookd.observe.counters.Counters.count`.
    """

    def __init__(
        self,
        reactor: Any,
        now: Callable[[], float],
        spool: ISpool,
        count: Callable[..., object] = lambda *_: None,
    ) -> None:
        self.reactor = reactor
        self.now = now
        self._count = count
        self.spool = spool
        self.pools: list[Workers] = []
        #: True after all plugins are built. No pool can be created after that.
        self.is_complete = False
        self._claims: dict[str, str] = {}

    def of_plugin(self, table: str) -> "PluginDaemon":
        """The daemon as the plugin of this table sees it."""
        return PluginDaemon(self, table)

    def add_pool(self, name: str, threads: int, waiting: int) -> Workers:
        """Creates a pool of this name. Raises like :meth:`IDaemon.workers`."""
        if self.is_complete:
            raise RuntimeError(f"{name}: plugins ask for worker pools while they are built, not later")
        if name in [other.name for other in self.pools]:
            raise ValueError(f"{name}: the plugin has a worker pool of this name already")
        pool = PluginWorkers(self.reactor, name, threads, waiting, PATIENCE, count=self._count)
        pool.minimum = 1
        self.pools.append(pool)
        return pool

    def claim(self, resource: str, table: str) -> None:
        """See :meth:`IDaemon.claim`."""
        owner = self._claims.setdefault(resource, table)
        if owner != table:
            raise ValueError(f"[{address('plugins', owner)}] has claimed it")


@implementer(IDaemon)
class PluginDaemon:
    """See :class:`IDaemon`. Names that a plugin chooses are unique within its table."""

    def __init__(self, daemon: Daemon, table: str) -> None:
        self._daemon = daemon
        self._table = table
        self.reactor = daemon.reactor
        self.spool = daemon.spool

    def now(self) -> float:
        """See :class:`IDaemon`."""
        return self._daemon.now()

    def workers(self, name: str, threads: int, waiting: int) -> Workers:
        """See :class:`IDaemon`."""
        check_pool(name, threads, waiting)
        return self._daemon.add_pool(f"{address('plugins', self._table)}/{name}", threads, waiting)

    def claim(self, resource: str) -> None:
        """See :class:`IDaemon`."""
        self._daemon.claim(resource, self._table)


def check_pool(name: str, threads: int, waiting: int) -> None:
    """Checks the arguments of a pool.

    :raises ValueError: one of them is invalid.
    """
    if not name or threads < 1 or waiting < 0:
        raise ValueError(f"worker pool {name!r}: needs a name, 1 or more threads, and waiting of 0 or more")
