"""What gives way when the disk is full: of what was to stay here though it is stored elsewhere, the oldest."""

from collections import deque
from collections.abc import Iterator
from heapq import nsmallest
from pathlib import Path

from audiohookd.spool import catalog, paths
from audiohookd.spool.catalog import Recording

#: So many are known at a time.
KNOWN = 1000


class EvictionCandidates:
    """Recordings in ``done`` that may go, in their order. For worker threads, one at a time.

    A day may have tens of thousands of recordings, and on a full disk each receipt asks for one that may go: so what
    one look finds there is kept, and that there was nothing is, too, as long as nothing comes or goes there.

    :param receipts: their suffixes, of all who store recordings. What lacks one of them is no choice.
    """

    def __init__(self, done: Path, receipts: frozenset[str]) -> None:
        self._done = done
        self._receipts = receipts
        self._known: deque[Recording] = deque()
        #: When something came or went last, by the names of days where none may go.
        self._without: dict[str, int] = {}

    def next(self) -> Recording | None:
        """Of the oldest day the one that was stored first, as of the last look; None when none may go.

        Each is named once, and again by the next look if it is still there.

        :raises OSError: the disk refused.
        """
        if not self._receipts:
            return None
        found = self._take()
        if found is None:
            self._look()
            found = self._take()
        return found

    def _take(self) -> Recording | None:
        """What others removed, or are just moving, is passed over."""
        while self._known:
            one = self._known.popleft()
            now = catalog.stat_recording(one.directory, one.id, one.suffixes)
            if self._may_go(now):
                return now
        return None

    def _look(self) -> None:
        days = [(day, day.stat().st_mtime_ns) for day in catalog.iter_days(self._done)]
        self._without = {day.name: at for day, at in days if self._without.get(day.name) == at}
        for day, changed_at in days:
            if day.name in self._without:
                continue
            self._known.extend(nsmallest(KNOWN, self._of_day(day), key=_stored_at))
            if self._known:
                return
            self._without[day.name] = changed_at

    def _of_day(self, day: Path) -> Iterator[Recording]:
        return (one for one in catalog.iter_day(day) if self._may_go(one))

    def _may_go(self, recording: Recording) -> bool:
        return recording.suffixes >= self._receipts | {paths.SIDECAR}


def _stored_at(recording: Recording) -> float:
    """When it was stored last. What is just being removed by others comes last."""
    try:
        return max(recording.path(paths.stored_suffix(name)).lstat().st_mtime for name in recording.carriers)
    except FileNotFoundError:
        return float("inf")
