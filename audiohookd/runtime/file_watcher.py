"""Detects changes of files, and reloads them."""

import os
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

#: Seconds between two checks of the files.
POLL_INTERVAL = 5.0
#: Seconds that a check may take: the files may be on a network file system.
LOOK_LIMIT = 60.0
#: Identifies the content and the permissions of a file.
FileStamp = tuple[int, ...]


def stamp_of(path: str | os.PathLike[str]) -> FileStamp | None:
    """Returns a value that changes with the content and the permissions of a file; None if it cannot be read."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a null character
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class ReloadableFile(Service, Generic[T]):
    """Polls files in a thread, and reloads them when they have changed.

    If a reload fails, the previous version stays in use. The failure is logged once, and counted.

    :param name: name of the content, for the log and the counter.
    :param read: reads the files, in a thread. Raises ValueError or OSError if they are invalid.
    :param take: applies the new content, in the reactor thread. Returns a text for the log.
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
        self._seen: list[FileStamp | None] = []
        self._is_wanted = False
        self.loop = SupervisedLoop(clock, f"watch of {name}", self._look, POLL_INTERVAL, count, LOOK_LIMIT)

    def load(self) -> T:
        """Reads the files for the first time. Blocks, so call it before the reactor runs.

        :raises ValueError: the content is invalid.
        :raises OSError: a file cannot be read.
        """
        self._seen = self._stamps()  # first, so that a change during the read causes a reload
        return self._read()

    def startService(self) -> None:
        """Starts to poll."""
        super().startService()
        self.loop.start()

    def stopService(self) -> None:
        """Stops polling."""
        super().stopService()
        self.loop.stop()

    def reread(self) -> None:
        """Reloads the files now, even if they have not changed."""
        self._is_wanted = True
        self.loop.next_in(0)

    def _look(self) -> "Deferred[None]":
        is_wanted, self._is_wanted = self._is_wanted, False
        looked: Deferred[tuple[T] | None] = self._workers.do(lambda: self._news(is_wanted))
        return looked.addCallbacks(self._taken, self._bad).addErrback(self._not_taken)

    def _news(self, is_wanted: bool) -> tuple[T] | None:
        """In a thread."""
        stamps = self._stamps()
        if stamps == self._seen and not is_wanted:
            return None
        self._seen = stamps
        return (self._read(),)

    def _taken(self, news: tuple[T] | None) -> None:
        if news is not None:
            self._log.info("{what} reloaded: {found}", what=self.name, found=self._take(news[0]))

    def _bad(self, failure: Failure) -> None:
        failure.trap(ValueError, OSError)
        error = failure.value
        reason = loggable(f"{error.filename}: {error.strerror}") if isinstance(error, OSError) else text_of(error)
        self._count("reload_failures", self.name)
        text = "reload of {what} failed, the previous version stays in use: {error}"
        self._log.error(text, what=self.name, error=reason)

    def _not_taken(self, failure: Failure) -> Failure:
        """Retries after an error that the files did not cause, even if they have not changed."""
        self._is_wanted = True
        return failure

    def _stamps(self) -> list[FileStamp | None]:
        return [stamp_of(path) for path in self._paths]
