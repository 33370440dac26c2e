"""Scans of all ready recordings: for the ones that are due at one destination, and for orphaned audio. For worker
threads.
"""

from pathlib import Path
from typing import NamedTuple, Protocol

from audiohookd.delivery.destination import Destination
from audiohookd.delivery.pending_queue import RecordingKey
from audiohookd.spool import catalog, paths
from audiohookd.spool.catalog import Recording
from audiohookd.spool.paths import SpoolPaths


class ScanResult(NamedTuple):
    """The recordings that a scan found.

    :ivar cursor: the recording after which the next scan continues; None when the scan reached the end.
    """

    keys: list[RecordingKey]
    cursor: RecordingKey | None
    #: The first disk error; the scan skipped what it concerned.
    error: OSError | None


class DueChecker(Protocol):
    """Decides which recordings are due; implemented by :class:`audiohookd.delivery.receipts.Receipts`."""

    def is_due(self, recording: Recording, destination: Destination) -> bool:
        """Whether ``destination`` has to deliver the recording."""

    def finish(self, key: RecordingKey, recording: Recording) -> bool:
        """Completes a stage that is done but not acted on; False when there was nothing to do."""


class Scan:
    """One scan, the oldest day first, that also completes recordings with all deliveries done.

    Files and directories that cannot be read are skipped, so that they do not hold up the others.

    :param known: recordings to leave out of the result.
    :param limit: the scan ends after so many recordings, found or completed.
    """

    def __init__(
        self, receipts: DueChecker, destination: Destination, known: frozenset[RecordingKey], limit: int
    ) -> None:
        self._receipts = receipts
        self._destination = destination
        self._known = known
        self._left = limit
        self._keys: list[RecordingKey] = []
        self._cursor: RecordingKey | None = None
        self._error: OSError | None = None

    def run(self, ready: Path, after: RecordingKey | None) -> ScanResult:
        """Scans ``ready`` from where the last scan ended.

        :raises OSError: the days cannot be listed.
        """
        for day in catalog.iter_days(ready):
            if after is None or day.name >= after.day:
                self._scan_day(day, after)
            if self._left <= 0:
                return ScanResult(self._keys, self._cursor, self._error)
        return ScanResult(self._keys, None, self._error)

    def _scan_day(self, day: Path, after: RecordingKey | None) -> None:
        try:
            for recording in catalog.iter_day(day):
                key = RecordingKey(day.name, recording.id)
                if paths.SIDECAR in recording.suffixes and (after is None or key > after):
                    self._check(key, recording)
                if self._left <= 0:
                    break
        except OSError as error:
            self._error = self._error or error

    def _check(self, key: RecordingKey, recording: Recording) -> None:
        self._cursor = key
        try:
            self._left -= self._receipts.finish(key, recording)
            if key not in self._known and self._receipts.is_due(recording, self._destination):
                self._keys.append(key)
                self._left -= 1
        except OSError as error:
            self._error = self._error or error


class Orphans(NamedTuple):
    """Audio files without a sidecar, which are neither delivered nor removed: how many, and one of them."""

    files: int = 0
    example: Path | None = None


def find_orphans(spool: SpoolPaths) -> Orphans:
    """Searches ``ready`` for orphaned audio. For worker threads; other threads may move recordings at the same time.

    :raises OSError: the disk failed.
    """
    found = Orphans()
    for recording in catalog.iter_recordings(spool.ready):
        if _lacks_sidecar(recording) and not _is_moving(spool, recording):
            found = Orphans(found.files + 1, found.example or recording.audio)
    return found


def _lacks_sidecar(recording: Recording) -> bool:
    return paths.AUDIO in recording.suffixes and paths.SIDECAR not in recording.suffixes


def _is_moving(spool: SpoolPaths, recording: Recording) -> bool:
    """Whether the sidecar is in another directory: audio enters ``ready`` before its sidecar, and leaves it after.

    The directories are checked in the order in which a sidecar passes through them.
    """
    directories = (spool.draft, *(shelf / recording.day for shelf in (spool.ready, spool.done, spool.dead)))
    is_elsewhere = any((directory / recording.sidecar.name).exists() for directory in directories)
    return is_elsewhere or not recording.audio.exists()
