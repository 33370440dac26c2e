"""Whether the disk can take one more recording: looked at every few seconds, in a thread, by a service."""

import errno
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from twisted.application.service import Service
from twisted.internet.defer import execute
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from audiohookd.interfaces import IWorkers
from audiohookd.runtime.error_text import text_of
from audiohookd.runtime.loops import SupervisedLoop
from audiohookd.spool.paths import SpoolPaths

#: Seconds from look to look.
PROBE_INTERVAL = 5.0
#: So many times it may be time for the next look while one is under way: then the disk does not answer (30 s).
MISSED_PROBES = 6
#: Bytes that must be free beyond ``min_free`` until calls are taken again; a twentieth of it where that is more. This
#: is about what a thousand calls write from look to look: they shall not be refused and taken by turns.
FREE_HYSTERESIS = 64 << 20

MIB = 1 << 20


class NotReadyReason(NamedTuple):
    """Why no new call should be taken. ``cause`` is one of a few words, ``text`` a sentence for the sysadmin."""

    cause: str
    text: str


class SpoolDisk:
    """The disk below a spool. Blocks, for as long as the disk pleases.

    :param keep_lock: as :meth:`audiohookd.spool.lock.Lock.keep`.
    :param statvfs: as :func:`os.statvfs`.
    """

    def __init__(
        self,
        layout: SpoolPaths,
        keep_lock: Callable[[], None],
        statvfs: Callable[[Any], os.statvfs_result] = os.statvfs,
    ) -> None:
        self.directory = layout.directory
        self._directories = (layout.draft, layout.ready)
        self._keep_lock = keep_lock
        self._statvfs = statvfs
        self._devices: list[int] = []

    def probe(self) -> int:
        """The free bytes.

        Tells what is refused at once: a directory that is gone, a file system that went read-only, or has no
        inode or quota left, or is another one than at the first look; a lock that another daemon got hold of. Does
        not sync: whether what is written reaches the disk is seen by who writes recordings.

        :raises OSError: no recording could be written, or be moved to where ready ones are.
        """
        devices = [directory.stat().st_dev for directory in self._directories]
        self._devices = self._devices or devices
        if devices != self._devices:
            raise OSError(errno.EXDEV, "is another file system than at the start", str(self.directory))
        self._keep_lock()
        for directory in self._directories:
            _write_into(str(directory))
        room = self._statvfs(self._directories[0])
        return room.f_bavail * room.f_frsize


class DiskMonitor(Service):
    """Looks at the disk, from its start to its stop, and knows the reason why no new call should be taken.

    The first look blocks, so that no call is let in before it; one that finds an obstacle does not end the start.

    :param workers: a pool with one thread, used for nothing else: a look may hang.
    :param count: as :meth:`audiohookd.observe.counters.Counters.count`.
    :param min_free: bytes; below it there is an obstacle. 0: no such limit.
    :param complaints: what others say is wrong now, or None, by the cause; asked at each look.
    :param tell: called with the text when an obstacle, or another one, comes up, and with None when it is gone.
    """

    name = "disk-watch"
    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        workers: IWorkers,
        count: Callable[..., object],
        disk: SpoolDisk,
        min_free: int,
        health_checks: Mapping[str, Callable[[], str | None]],
        on_change: Callable[[str | None], None],
    ) -> None:
        self._workers = workers
        self._count = count
        self._disk = disk
        self._min_free = min_free
        self._health_checks = health_checks
        self._on_change = on_change
        self.loop = SupervisedLoop(reactor, self.name, self._probe, PROBE_INTERVAL, count)
        self._is_probing = False
        self._missed = 0
        self._refused: str | None = None
        self._not_ready: NotReadyReason | None = None
        #: Bytes that were free at the last look that succeeded.
        self.free = 0

    @property
    def not_ready_reason(self) -> str | None:
        """Why no new call should be taken now: paths and figures in it, so not for the wire."""
        return None if self._not_ready is None else self._not_ready.text

    def startService(self) -> None:
        """Looks at once."""
        super().startService()
        execute(self._disk.probe).addBoth(self._probed)
        self.loop.start()

    def stopService(self) -> None:
        """Does not wait for a look that is under way: the pool does."""
        super().stopService()
        self.loop.stop()

    def _probe(self) -> None:
        if self._is_probing:
            self._missed += 1
            self._update()
        else:
            self._is_probing = True
            self._workers.do(self._disk.probe).addBoth(self._probed).addErrback(self.loop.failed)

    def _probed(self, outcome: int | Failure) -> None:
        self._is_probing = False
        self._missed = 0
        if isinstance(outcome, Failure):
            self._refused = _reason(outcome)
        else:
            self._refused = None
            self.free = outcome
        if self.running:
            self._update()

    def _update(self) -> None:
        before = self._not_ready
        self._not_ready = self._find(before)
        if self._not_ready is None:
            if before is not None:
                self._log.info("new calls are taken again: {free} MiB free", free=self.free // MIB)
                self._on_change(None)
        elif before is None or before.cause != self._not_ready.cause:
            self._count("not_ready_transitions", self._not_ready.cause)
            self._log.error("new calls are refused: {obstacle}", obstacle=self._not_ready.text)
            self._on_change(self._not_ready.text)

    def _find(self, before: NotReadyReason | None) -> NotReadyReason | None:
        if self._missed >= MISSED_PROBES:
            seconds = int(self._missed * PROBE_INTERVAL)
            return NotReadyReason("disk", f"the disk of {self._disk.directory} has not answered for {seconds} s")
        if self._refused is not None:
            return NotReadyReason("disk", self._refused)
        for cause, complain in self._health_checks.items():
            complaint = complain()
            if complaint is not None:
                return NotReadyReason(cause, complaint)
        return self._find_room(before)

    def _find_room(self, before: NotReadyReason | None) -> NotReadyReason | None:
        needed = self._min_free
        if before is not None and before.cause == "room":
            needed += max(FREE_HYSTERESIS, self._min_free // 20)
        if self.free >= needed:
            return None
        free = f"{self.free // MIB} MiB"
        return NotReadyReason("room", f"less than {needed // MIB} MiB free on {self._disk.directory} ({free})")


def _write_into(directory: str) -> None:
    """One byte, for as long as this takes: access(2) knows of read-only file systems, but not of full ones."""
    try:
        with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
            file.write(b"\0")
    except OSError as fault:
        raise OSError(fault.errno, fault.strerror, directory) from fault


def _reason(failure: Failure) -> str:
    fault = failure.value
    if isinstance(fault, OSError) and fault.strerror:
        return f"{fault.filename}: {fault.strerror}"
    return f"the disk cannot be looked at: {text_of(failure.value)}"
