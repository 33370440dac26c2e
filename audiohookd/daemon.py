"""What plugins may ask of the daemon."""

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from audiohookd.interfaces import IDaemon, ISpool
from audiohookd.runtime.workers import Workers

#: Seconds that the stop waits for work of plugins that was cut off already, as uploads are; see Workers.
PATIENCE = 4.0


@implementer(IDaemon)
class Daemon:
    """See :class:`IDaemon`. ``pools`` are the worker pools that plugins asked for, to be started and stopped.

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
        self._count = count
        self._now = now
        self.spool = spool
        self.pools: list[Workers] = []

    def now(self) -> float:
        """See :class:`IDaemon`."""
        return self._now()

    def workers(self, name: str, threads: int, waiting: int) -> Workers:
        """See :class:`IDaemon`.

        :raises ValueError: there is a pool of this name.
        """
        # The prefix keeps it apart from the daemon's own services and threads.
        pool = Workers(self.reactor, f"plugin-{name}", threads, waiting, PATIENCE, count=self._count)
        pool.minimum = 1
        if pool.name in [other.name for other in self.pools]:
            raise ValueError(f"there is a worker pool {name!r} already")
        self.pools.append(pool)
        return pool
