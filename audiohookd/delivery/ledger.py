"""What is due, and what is done: read from the disk each time, for nothing else is sure. For worker threads."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import msgspec

from audiohookd.delivery import shelving
from audiohookd.delivery.outlet import Outlet
from audiohookd.delivery.queue import Key
from audiohookd.delivery.search import Found, Search
from audiohookd.delivery.shelving import UNFINISHED, Disk
from audiohookd.spool import layout, shelf
from audiohookd.spool.layout import Layout
from audiohookd.spool.shelf import Recording


class Ledger:
    """The books of all outlets.

    One thread at a time moves or removes anything: two outlets may be done with a recording in the same instant.

    :param keep_local: whether recordings that were stored stay here, too.
    """

    def __init__(self, spool: Layout, outlets: Sequence[Outlet], keep_local: bool, disk: Disk | None = None) -> None:
        self._spool = spool
        self._stored = frozenset(outlet.mark for outlet in outlets if outlet.is_carrier)
        self._told = frozenset(outlet.mark for outlet in outlets if not outlet.is_carrier)
        self._marks = self._stored | self._told
        unfinished = (mark + UNFINISHED for mark in self._marks)
        self._suffixes = (layout.SIDECAR, layout.AUDIO, *self._marks, *unfinished)
        # Where nobody stores it, this is the only copy.
        self._removes = bool(self._stored) and not keep_local
        self._disk = disk or Disk()
        self._lock = Lock()

    def tidy(self) -> None:
        """See :func:`audiohookd.delivery.shelving.tidy`."""
        with self._lock:
            shelving.tidy(self._disk, self._spool)

    def due(self, key: Key, outlet: Outlet) -> Recording | None:
        """The recording, as it is now, if ``outlet`` has to deliver it."""
        recording = self._look(key)
        return recording if self.is_due(recording, outlet) else None

    def keep(self, key: Key, outlet: Outlet, receipt: Mapping[str, Any], now: float) -> bool:
        """``outlet`` has delivered it: writes that down, and does what follows from it.

        :param now: seconds since the epoch.
        :returns: whether it is the notifiers' turn.
        :raises TypeError: ``receipt`` is nothing that can be written as JSON.
        """
        content = msgspec.json.encode({**receipt, "at": timestamp(now)})
        recording = self._look(key)
        if layout.SIDECAR not in recording.suffixes:  # a dead letter of another outlet meanwhile
            return False
        # What is removed at once need not have reached the disk before.
        is_last = self._removes and self._marks - recording.suffixes <= {outlet.mark}
        unfinished = recording.path(outlet.mark + UNFINISHED)
        self._disk.create(unfinished, msgspec.json.format(content) + b"\n", durable=not is_last)
        with self._lock:
            if not recording.sidecar.exists():
                self._disk.unlink(unfinished)
                return False
            self._disk.rename(unfinished, recording.path(outlet.mark))
            return self._advance(self._look(key))

    def bury(self, key: Key, outlet: Outlet, reason: str, now: float) -> bool:
        """Makes it a dead letter. False when it is gone already."""
        with self._lock:
            day = self._spool.ready / key.day
            recording = next((one for one in shelf.of_day(day) if one.id == key.id), None)
            if recording is None or layout.SIDECAR not in recording.suffixes:
                return False
            grave = shelving.make_directory(self._disk, self._spool.dead / key.day)
            shelving.bury(self._disk, recording, grave, f"{timestamp(now)} {outlet.name}: {reason}\n")
            return True

    def search(self, outlet: Outlet, after: Key | None, known: frozenset[Key], limit: int) -> Found:
        """What ``outlet`` has to deliver; see :class:`Search`.

        :param after: where the last search ended.
        """
        return Search(self, outlet, known, limit).run(self._spool.ready, after)

    def is_due(self, recording: Recording, outlet: Outlet) -> bool:
        """Whether ``outlet`` has to deliver it, as it was when it was looked at."""
        if layout.SIDECAR not in recording.suffixes or outlet.mark in recording.suffixes:
            return False
        lacking = self._lacking(recording)
        return outlet.mark in lacking if outlet.is_carrier else not lacking

    def finish(self, key: Key, recording: Recording) -> bool:
        """Does what should have been done already; whether there was anything.

        It was not when a crash came between, or when an outlet is not configured any more.
        """
        untold = self._told - recording.suffixes
        has_audio_to_remove = self._removes and layout.AUDIO in recording.suffixes
        if (untold and not has_audio_to_remove) or self._lacking(recording):
            return False
        with self._lock:
            self._advance(self._look(key))
        return True

    def _look(self, key: Key) -> Recording:
        return shelf.look(self._spool.ready / key.day, key.id, self._suffixes)

    def _lacking(self, recording: Recording) -> frozenset[str]:
        """The receipts that are still to come."""
        lacking = self._stored - recording.suffixes
        return frozenset() if lacking and _was_carried_away(recording) else lacking

    def _advance(self, recording: Recording) -> bool:
        """The next step of a recording, seen by who holds the lock; whether that is the notifiers'."""
        if layout.SIDECAR not in recording.suffixes or self._lacking(recording):
            return False
        if self._told - recording.suffixes:
            if self._removes:
                self._disk.unlink(recording.audio)
            return True
        if self._removes:
            shelving.remove(self._disk, recording)
        else:
            done = shelving.make_directory(self._disk, self._spool.done / recording.day)
            shelving.move(self._disk, recording, done)
        return False


def timestamp(seconds: float) -> str:
    """``seconds`` since the epoch in ISO 8601, UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _was_carried_away(recording: Recording) -> bool:
    """Whether its audio was stored, and removed here: a carrier that was configured since is too late for it."""
    if layout.AUDIO in recording.suffixes:
        return False
    try:
        has_audio = recording.read().get("audio") is not None
    except (OSError, ValueError):  # for the carrier to say
        return False
    return has_audio and any(recording.directory.glob(f"{recording.id}.{layout.stored('*')}"))
