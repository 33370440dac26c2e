"""Eviction candidates for a full disk: the oldest local copies of recordings that all carriers have stored."""

from collections import deque
from collections.abc import Iterator
from heapq import nsmallest
from pathlib import Path

from audiohookd.spool import catalog, paths
from audiohookd.spool.catalog import Recording

#: Candidates that are kept in memory.
KNOWN = 1000


class EvictionCandidates:
    """Recordings in ``done`` that may be evicted, the oldest first. For worker threads, one at a time.

    A day may have tens of thousands of recordings, and on a full disk each receipt needs an eviction. So a scan keeps
    the candidates it found. It also remembers days without candidates, until their directory changes.

    :param receipts: the suffixes of the receipts of all carriers. A recording that lacks one of them is no candidate.
    """

    def __init__(self, done: Path, receipts: frozenset[str]) -> None:
        self._done = done
        self._receipts = receipts
        self._known: deque[Recording] = deque()
        #: Days without candidates: their names, with the modification time of their directories.
        self._days_without: dict[str, int] = {}

    def next(self) -> Recording | None:
        """The candidate of the oldest day that was stored first, as of the last scan; None when there is none.

        Each candidate is returned once, and again after the next scan if it still exists.

        :raises OSError: the disk failed.
        """
        if not self._receipts:
            return None
        found = self._next_known()
        if found is None:
            self._scan()
            found = self._next_known()
        return found

    def _next_known(self) -> Recording | None:
        """Skips recordings that other threads have removed or are moving."""
        while self._known:
            candidate = self._known.popleft()
            now = catalog.stat_recording(candidate.directory, candidate.id, candidate.suffixes)
            if self._is_evictable(now):
                return now
        return None

    def _scan(self) -> None:
        days = [(day, day.stat().st_mtime_ns) for day in catalog.iter_days(self._done)]
        self._days_without = {day.name: at for day, at in days if self._days_without.get(day.name) == at}
        for day, changed_at in days:
            if day.name in self._days_without:
                continue
            self._known.extend(nsmallest(KNOWN, self._of_day(day), key=_stored_at))
            if self._known:
                return
            self._days_without[day.name] = changed_at

    def _of_day(self, day: Path) -> Iterator[Recording]:
        return (candidate for candidate in catalog.iter_day(day) if self._is_evictable(candidate))

    def _is_evictable(self, recording: Recording) -> bool:
        return recording.suffixes >= self._receipts | {paths.SIDECAR}


def _stored_at(recording: Recording) -> float:
    """When the last carrier stored it. A recording that another thread is removing sorts last."""
    try:
        return max(recording.path(paths.stored_suffix(name)).lstat().st_mtime for name in recording.carriers)
    except FileNotFoundError:
        return float("inf")
