"""A look through all ready recordings for those that an outlet has to deliver. For worker threads."""

from pathlib import Path
from typing import NamedTuple, Protocol

from audiohookd.delivery.destination import Destination
from audiohookd.delivery.pending_queue import RecordingKey
from audiohookd.spool import catalog, paths
from audiohookd.spool.catalog import Recording


class ScanResult(NamedTuple):
    """What a search found, and after which recording the next one goes on: None when it got to the end."""

    keys: list[RecordingKey]
    cursor: RecordingKey | None
    #: The first thing that the disk refused on the way.
    fault: OSError | None


class DueChecker(Protocol):
    """Who knows what is due; see :class:`audiohookd.delivery.receipts.Ledger`."""

    def is_due(self, recording: Recording, outlet: Destination) -> bool:
        """Whether ``outlet`` has to deliver it."""

    def finish(self, key: RecordingKey, recording: Recording) -> bool:
        """Does what should have been done already; whether there was anything."""


class Scan:
    """One search, the oldest day first. Finishes on the way what is done but still there.

    What the disk refuses is passed over: a directory that cannot be read must not hold up what lies in the others.

    :param known: what is not looked for.
    :param limit: it ends after so many, found or finished.
    """

    def __init__(self, books: DueChecker, outlet: Destination, known: frozenset[RecordingKey], limit: int) -> None:
        self._books = books
        self._outlet = outlet
        self._known = known
        self._left = limit
        self._keys: list[RecordingKey] = []
        self._cursor: RecordingKey | None = None
        self._fault: OSError | None = None

    def run(self, ready: Path, after: RecordingKey | None) -> ScanResult:
        """Goes through ``ready``, from where the last search ended.

        :raises OSError: not even the days can be listed.
        """
        for day in catalog.iter_days(ready):
            if after is None or day.name >= after.day:
                self._go_through(day, after)
            if self._left <= 0:
                return ScanResult(self._keys, self._cursor, self._fault)
        return ScanResult(self._keys, None, self._fault)

    def _go_through(self, day: Path, after: RecordingKey | None) -> None:
        try:
            for recording in catalog.iter_day(day):
                key = RecordingKey(day.name, recording.id)
                if paths.SIDECAR in recording.suffixes and (after is None or key > after):
                    self._look_at(key, recording)
                if self._left <= 0:
                    break
        except OSError as fault:
            self._fault = self._fault or fault

    def _look_at(self, key: RecordingKey, recording: Recording) -> None:
        self._cursor = key
        try:
            self._left -= self._books.finish(key, recording)
            if key not in self._known and self._books.is_due(recording, self._outlet):
                self._keys.append(key)
                self._left -= 1
        except OSError as fault:
            self._fault = self._fault or fault
