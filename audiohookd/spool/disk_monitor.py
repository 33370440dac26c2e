"""Probes the disk of the spool every few seconds, in a thread, and reports whether it can take new recordings."""

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

#: Seconds between two probes.
PROBE_INTERVAL = 5.0
#: The disk counts as hanging when a probe has not returned after this many intervals (30 s).
MISSED_PROBES = 6
#: Bytes that must be free beyond ``min_free`` before new calls are accepted again, or ``min_free / 20`` if that is
#: more. A thousand calls write about this much between two probes: without it they would be rejected and accepted in
#: turn.
FREE_HYSTERESIS = 64 << 20

MIB = 1 << 20


class NotReadyReason(NamedTuple):
    """Why the daemon must not accept new calls. ``cause`` is a label for metrics, ``text`` is for the operator."""

    cause: str
    text: str


class SpoolDisk:
    """The disk of a spool. Its methods block for as long as the disk does not answer.

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
        """Checks that a recording could be written now.

        Finds a directory that is missing, a file system that is read-only, has no inode or quota left, or is not the
        one of the first probe, and a lock that another daemon holds. Does not sync: the syncer reports data that does
        not reach the disk.

        :returns: the free bytes.
        :raises OSError: a recording could not be written, or not be moved to ``ready``.
        """
        devices = [directory.stat().st_dev for directory in self._directories]
        self._devices = self._devices or devices
        if devices != self._devices:
            raise OSError(errno.EXDEV, "is not the file system it was at the start", str(self.directory))
        self._keep_lock()
        for directory in self._directories:
            _write_into(str(directory))
        stat = self._statvfs(self._directories[0])
        return stat.f_bavail * stat.f_frsize


class DiskMonitor(Service):
    """Probes the disk while the service runs, and keeps the reason why new calls must not be accepted.

    The first probe blocks, so that no call is accepted before it. If it fails, the daemon still starts.

    :param workers: a pool with one thread that runs nothing else: a probe may hang.
    :param count: as :meth:`audiohookd.observe.counters.Counters.count`.
    :param min_free: bytes; new calls are not accepted while less is free. 0: no limit.
    :param health_checks: further checks by cause, called after each probe. Each returns an error text or None.
    :param on_change: called with the text when a reason appears or its cause changes, and with None when there is
        none any more.
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
        #: Bytes that were free at the last successful probe.
        self.free = 0

    @property
    def not_ready_reason(self) -> str | None:
        """Why new calls must not be accepted now, or None. Contains paths and figures: do not send it to clients."""
        return None if self._not_ready is None else self._not_ready.text

    def startService(self) -> None:
        """Probes at once."""
        super().startService()
        execute(self._disk.probe).addBoth(self._probed)
        self.loop.start()

    def stopService(self) -> None:
        """Does not wait for a running probe: the pool does."""
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
                self._log.info("ready again, accepting new calls: {free} MiB free", free=self.free // MIB)
                self._on_change(None)
        elif before is None or before.cause != self._not_ready.cause:
            self._count("not_ready_transitions", self._not_ready.cause)
            self._log.error("not ready, new calls are rejected: {obstacle}", obstacle=self._not_ready.text)
            self._on_change(self._not_ready.text)

    def _find(self, before: NotReadyReason | None) -> NotReadyReason | None:
        if self._missed >= MISSED_PROBES:
            seconds = int(self._missed * PROBE_INTERVAL)
            return NotReadyReason("disk", f"the disk of {self._disk.directory} has not answered for {seconds} s")
        if self._refused is not None:
            return NotReadyReason("disk", self._refused)
        for cause, check in self._health_checks.items():
            error = check()
            if error is not None:
                return NotReadyReason(cause, error)
        return self._check_free(before)

    def _check_free(self, before: NotReadyReason | None) -> NotReadyReason | None:
        needed = self._min_free
        if before is not None and before.cause == "room":
            needed += max(FREE_HYSTERESIS, self._min_free // 20)
        if self.free >= needed:
            return None
        free = f"{self.free // MIB} MiB"
        return NotReadyReason("room", f"less than {needed // MIB} MiB free on {self._disk.directory} ({free})")


def _write_into(directory: str) -> None:
    """Writes one byte to a temporary file: access(2) detects a read-only file system, but not a full one."""
    try:
        with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
            file.write(b"\0")
    except OSError as error:
        raise OSError(error.errno, error.strerror, directory) from error


def _reason(failure: Failure) -> str:
    error = failure.value
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return f"the disk cannot be probed: {text_of(error)}"
