"""What is read from files, and read again when they have changed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.escaping import loggable
from audiohookd.interfaces import IWorkers
from audiohookd.runtime.faults import text_of

T = TypeVar("T")

#: Seconds from one look at the files to the next.
LOOK_EVERY = 5.0
#: What tells that a file is another, or None where there is none.
Looks = tuple[tuple[int, int, int] | None, ...]


class Watched(Service, Generic[T]):
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
        self._clock = clock
        self._workers = workers
        self._paths = paths
        self._read = read
        self._take = take
        self._count = count
        self._seen: Looks = ()
        self._timer: IDelayedCall | None = None
        self._is_wanted = False
        self._is_looking = False

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
        self._timer = self._clock.callLater(LOOK_EVERY, self._look)

    def stopService(self) -> None:
        """Looks no more."""
        super().stopService()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def reread(self) -> None:
        """Reads it at once, changed or not."""
        self._is_wanted = True
        if self.running and not self._is_looking and self._timer is not None:
            self._timer.reset(0)

    def _look(self) -> None:
        is_wanted, self._is_wanted = self._is_wanted, False
        self._is_looking = True
        self._workers.do(lambda: self._news(is_wanted)).addCallbacks(self._taken, self._bad).addErrback(
            lambda failure: self._log.failure("{what} could not be taken over", failure, what=self.name)
        ).addBoth(self._rest)

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
        self._count("bad_reloads", self.name)
        self._log.error("{what} stays as it is: {fault}", what=self.name, fault=reason)

    def _rest(self, _: object) -> None:
        self._is_looking = False
        if self.running:
            self._timer = self._clock.callLater(0 if self._is_wanted else LOOK_EVERY, self._look)

    def _looks(self) -> Looks:
        return tuple(map(_looks_of, self._paths))


def _looks_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
