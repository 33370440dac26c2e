"""What the daemon offers to its plugins."""

from collections.abc import Callable
from typing import Any

from zope.interface import Attribute, Interface

# zope interfaces describe methods without ``self``.
# ruff: noqa: N805


class WrongThread(RuntimeError):
    """Raised when a method of the reactor thread is called from another thread. The call has no effect.

    From a thread, use ``daemon.reactor.callFromThread(session.send_event, entities)``.
    """


class PoolFull(Exception):
    """Raised by a worker pool that cannot take more work: all threads are busy and as much work waits as may wait."""


class IWorkers(Interface):
    """A bounded pool of threads."""

    def do(work: Callable[[], Any]) -> Any:
        """Runs ``work`` in a thread of the pool. Never raises. Work starts in the order of the calls.

        :param work: must be safe to run outside the reactor thread.
        :returns: a Deferred with the result of ``work``. It fails with the exception of ``work``; with PoolFull if
            too much work is queued, or if the pool has stopped or has not started (it starts after the plugin is
            built); with :class:`WrongThread` if called outside the reactor thread.
        """


class IDaemon(Interface):
    """The services of the daemon that a plugin may use."""

    reactor = Attribute(
        "The reactor (IReactorTime and more). Its ``seconds()`` are monotonic: use them for durations, not for dates."
    )
    spool = Attribute("The ISpool.")

    def now() -> float:
        """Seconds since the epoch, for dates. The system clock may be set forward or back at any time."""

    def workers(name: str, threads: int, waiting: int) -> IWorkers:
        """Creates a thread pool for the plugin, which the daemon starts and stops. Call it while the plugin is built.
        :param name: unique in one table of the configuration; two tables can use one plugin class.
        :param threads: the most threads.
        :param waiting: the most pieces of work in the queue.
        :raises ValueError: the plugin has a pool of this name already, or a parameter is out of range.
        :raises RuntimeError: the plugin has been built.
        """

    def claim(resource: str) -> None:
        """Reserves a resource that only one table may use, such as a bucket or a file.

        Call it only while the plugin is built.

        :param resource: a name that all plugins share.
        :raises ValueError: another table has claimed it; the text names that table.
        """
