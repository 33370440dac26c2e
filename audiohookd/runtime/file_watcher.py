"""What is read from files, and read again when they have changed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.escaping import loggable
from audiohookd.interfaces import IWorkers
from audiohookd.runtime.error_text import text_of
from audiohookd.runtime.loops import SupervisedLoop

T = TypeVar("T")

#: Seconds from one look at the files to the next.
POLL_INTERVAL = 5.0
#: Seconds that one look may take: files may be on a server.
LOOK_LIMIT = 60.0
#: What tells that a file is another, or None where there is none.
Looks = tuple[tuple[int, int, int] | None, ...]


class ReloadableFile(Service, Generic[T]):
    """Looks at the files every few seconds in a thread, and has them taken over when they are others and good.

    What is bad changes nothing: it is told in one line, once, and counted.

    :param name: what is read, for the log and the counter.
    :param read: reads it, in a thread. Raises ValueError or OSError with the reason when it is bad.
    :param take: is given what was read, in the reactor thread; its answer goes into the log.
    :param count: counts by name and label.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        workers: IWorkers,
        name: str,
        paths: Sequence[Path],
        read: Callable[[], T],
        take: Callable[[T], str],
        count: Callable[..., object],
    ) -> None:
        self.name = name
        self._workers = workers
        self._paths = paths
        self._read = read
        self._take = take
        self._count = count
        self._seen: Looks = ()
        self._is_wanted = False
        self.loop = SupervisedLoop(clock, f"watch of {name}", self._look, POLL_INTERVAL, count, LOOK_LIMIT)

    def load(self) -> T:
        """Reads it for the first time. Blocks: before the reactor runs.

        :raises ValueError: it is bad.
        :raises OSError: it cannot be read.
        """
        self._seen = self._looks()  # first: what changes while it is read is read again
        return self._read()

    def startService(self) -> None:
        """Looks from now on."""
        super().startService()
        self.loop.start()

    def stopService(self) -> None:
        """Looks no more."""
        super().stopService()
        self.loop.stop()

    def reread(self) -> None:
        """Reads it at once, changed or not."""
        self._is_wanted = True
        self.loop.next_in(0)

    def _look(self) -> "Deferred[None]":
        is_wanted, self._is_wanted = self._is_wanted, False
        looked: Deferred[tuple[T] | None] = self._workers.do(lambda: self._news(is_wanted))
        return looked.addCallbacks(self._taken, self._bad).addErrback(self._not_taken)

    def _news(self, is_wanted: bool) -> tuple[T] | None:
        """In a thread."""
        looks = self._looks()
        if looks == self._seen and not is_wanted:
            return None
        self._seen = looks
        return (self._read(),)

    def _taken(self, news: tuple[T] | None) -> None:
        if news is not None:
            self._log.info("{what} read again: {found}", what=self.name, found=self._take(news[0]))

    def _bad(self, failure: Failure) -> None:
        failure.trap(ValueError, OSError)
        fault = failure.value
        reason = loggable(f"{fault.filename}: {fault.strerror}") if isinstance(fault, OSError) else text_of(fault)
        self._count("reload_failures", self.name)
        self._log.error("{what} stays as it is: {fault}", what=self.name, fault=reason)

    def _not_taken(self, failure: Failure) -> Failure:
        """What is not the fault of the files: they are read again, changed or not."""
        self._is_wanted = True
        return failure

    def _looks(self) -> Looks:
        return tuple(map(_stat_key, self._paths))


def _stat_key(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
