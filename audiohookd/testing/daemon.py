"""A daemon for one plugin, without a reactor."""

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock
from zope.interface import implementer

from audiohookd.interfaces import IDaemon, ISpool, IWorkers
from audiohookd.plugin_host import check_pool
from audiohookd.testing.constants import START
from audiohookd.testing.workers import LimitedWorkers, MemoryWorkers


class FakeReactor(Clock):
    """A Clock that moves only by ``advance``, which also runs the calls of ``callFromThread``."""

    def callFromThread(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """See :class:`twisted.internet.interfaces.IReactorFromThreads`."""
        self.callLater(0, function, *arguments, **options)


@implementer(IDaemon)
class FakeDaemon:
    """An IDaemon for one plugin, with a clock (``reactor``) and a pool (``pool``) that the test drives.

    Each plugin of a test needs its own FakeDaemon.

    The date is :data:`START` when the clock is at 0, and advances with it. ``clock_change`` is the number of seconds
    by which the system clock was set forward.

    ``asked`` lists the pools that the plugin created, as ``(name, threads, waiting)``. Each pool has its own limit;
    ``pool`` runs the work of all of them.

    ``claims`` lists the resources that the plugin claimed. The table ``other`` holds the resources in ``taken``.
    """

    def __init__(self, spool: ISpool | None = None) -> None:
        self.reactor = FakeReactor()
        self.clock_change = 0.0
        self.spool = spool
        self.pool = MemoryWorkers()
        self.asked: list[tuple[str, int, int]] = []
        self.claims: list[str] = []
        self.taken: set[str] = set()

    def now(self) -> float:
        """See :class:`IDaemon`."""
        return START + self.reactor.seconds() + self.clock_change

    def workers(self, name: str, threads: int, waiting: int) -> IWorkers:
        """See :class:`IDaemon`."""
        check_pool(name, threads, waiting)
        if name in [asked for asked, _, _ in self.asked]:
            raise ValueError(f"{name}: the plugin has a worker pool of this name already")
        self.asked.append((name, threads, waiting))
        return LimitedWorkers(self.pool, threads + waiting)

    def claim(self, resource: str) -> None:
        """See :class:`IDaemon`."""
        if resource in self.taken:
            raise ValueError("[plugins.other] has claimed it")
        self.claims.append(resource)
