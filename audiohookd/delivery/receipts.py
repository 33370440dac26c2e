"""What is due, and what is done: read from the disk each time, for nothing else is sure. For worker threads."""

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec

from audiohookd.delivery import file_moves
from audiohookd.delivery.destination import Destination
from audiohookd.delivery.eviction import EvictionCandidates
from audiohookd.delivery.file_moves import NO_ROOM, TEMP_SUFFIX, FileOperations
from audiohookd.delivery.orphans import Orphans, find_orphans
from audiohookd.delivery.pending_queue import RecordingKey
from audiohookd.delivery.rejection import lines as refusal_lines
from audiohookd.delivery.rejection import rejection_of
from audiohookd.delivery.scan import Scan, ScanResult
from audiohookd.delivery.stages import Stage, Stages
from audiohookd.spool import catalog, paths
from audiohookd.spool.catalog import Recording
from audiohookd.spool.paths import SpoolPaths

#: So many recordings at most make room for one receipt. When that is not enough, it is tried again later.
EVICTED_AT_ONCE = 8


class SpaceResult(Enum):
    """For a receipt, on a disk that has none."""

    NONE = "none"
    MADE = "made"
    NOT_NEEDED = "not needed"


class Receipts:
    """The books of all outlets.

    One thread at a time moves or removes anything: two outlets may be done with a recording in the same instant.

    :param keeps_local: whether recordings that were stored stay here, too, as long as there is room.
    """

    def __init__(
        self, spool: SpoolPaths, outlets: Sequence[Destination], keeps_local: bool, disk: FileOperations | None = None
    ) -> None:
        self._spool = spool
        self._dues = Stages(outlets)
        unfinished = (suffix + TEMP_SUFFIX for suffix in self._dues.suffixes)
        self._suffixes = (paths.SIDECAR, paths.AUDIO, *self._dues.suffixes, *unfinished)
        # Where nobody stores it, this is the only copy.
        self._removes = self._dues.is_stored and not keeps_local
        self._disk = disk or FileOperations()
        self._lock = Lock()
        self._displaceable = EvictionCandidates(spool.done, self._dues.receipts)
        #: Recordings that were to stay, and had to make room: for somebody to take out, and to tell of.
        self.displaced: deque[RecordingKey] = deque()

    def recover(self) -> Orphans:
        """See :func:`audiohookd.delivery.file_moves.tidy`. Says what nobody will deliver."""
        with self._lock:
            file_moves.recover_moves(self._disk, self._spool)
        return find_orphans(self._spool)

    def load_if_due(self, key: RecordingKey, outlet: Destination) -> Recording | None:
        """The recording, as it is now, if ``outlet`` has to deliver it."""
        recording = self._look(key)
        return recording if self.is_due(recording, outlet) else None

    def record_delivered(
        self, key: RecordingKey, outlet: Destination, receipt: Mapping[str, Any], now: float
    ) -> bool:
        """``outlet`` has delivered it: writes that down, and does what follows from it.

        :param now: seconds since the epoch.
        :returns: whether it is the notifiers' turn.
        :raises TypeError: ``receipt`` is nothing that can be written as JSON.
        """
        content = _encode(receipt, timestamp(now))
        recording = self._look(key)
        if paths.SIDECAR not in recording.suffixes:  # somebody removed it
            return False
        # What is removed at once need not have reached the disk before.
        is_last = self._removes and self._dues.stage_with(recording, outlet.done_suffix) is Stage.END
        unfinished = recording.path(outlet.done_suffix + TEMP_SUFFIX)
        if not self._write(key, outlet, unfinished, content, durable=not is_last):
            return False
        with self._lock:
            if not recording.sidecar.exists():
                self._disk.unlink(unfinished)
                return False
            self._disk.rename(unfinished, recording.path(outlet.done_suffix))
            return self._advance(self._look(key)) is Stage.NOTIFIERS

    def record_rejected(self, key: RecordingKey, outlet: Destination, reason: str, now: float) -> Stage | None:
        """``outlet`` will never deliver it: writes that down, or makes it a dead letter when nobody else is due.

        :param now: seconds since the epoch.
        :returns: what is next; :attr:`Step.GRAVE` is done already. None when the recording is gone.
        """
        refusal = rejection_of(reason, timestamp(now))
        with self._lock:
            recording = self._look(key)
            if paths.SIDECAR not in recording.suffixes:
                return None
            step = self._dues.stage_with(recording, outlet.rejected_suffix)
            if step is Stage.GRAVE:
                self._bury(recording, refusal.line(outlet.name))
            else:
                unfinished = recording.path(outlet.rejected_suffix + TEMP_SUFFIX)
                self._disk.create(unfinished, refusal.encode(), durable=True)
                self._disk.rename(unfinished, recording.path(outlet.rejected_suffix))
            return step

    def search(
        self, outlet: Destination, after: RecordingKey | None, known: frozenset[RecordingKey], limit: int
    ) -> ScanResult:
        """What ``outlet`` has to deliver; see :class:`Search`.

        :param after: where the last search ended.
        """
        return Scan(self, outlet, known, limit).run(self._spool.ready, after)

    def is_due(self, recording: Recording, outlet: Destination) -> bool:
        """Whether ``outlet`` has to deliver it, as it was when it was looked at."""
        return self._dues.is_due(recording, outlet)

    def finish(self, key: RecordingKey, recording: Recording) -> bool:
        """Does what should have been done already; whether there was anything.

        It was not when a crash came between, or when an outlet is not configured any more.
        """
        step = self._dues.stage(recording)
        has_audio_to_remove = self._removes and paths.AUDIO in recording.suffixes
        if step is Stage.CARRIERS or (step is Stage.NOTIFIERS and not has_audio_to_remove):
            return False
        with self._lock:
            self._advance(self._look(key))
        return True

    def _look(self, key: RecordingKey) -> Recording:
        return catalog.stat_recording(self._spool.ready / key.day, key.id, self._suffixes)

    def _write(self, key: RecordingKey, outlet: Destination, unfinished: Path, content: bytes, durable: bool) -> bool:
        """A receipt; False when none is needed any more."""
        for _ in range(EVICTED_AT_ONCE):
            try:
                self._disk.create(unfinished, content, durable)
                return True
            except OSError as fault:
                room = self._make_room(key, outlet) if fault.errno in NO_ROOM else SpaceResult.NONE
                if room is SpaceResult.NONE:
                    raise
            if room is SpaceResult.NOT_NEEDED:
                return False
            durable = True
        self._disk.create(unfinished, content, durable)
        return True

    def _make_room(self, key: RecordingKey, outlet: Destination) -> SpaceResult:
        """For the receipt of what ``outlet`` has just stored, or told of.

        What was to stay here goes first: calls that run need the room that it takes. Then audio that is stored
        everywhere goes before the receipt that says so. After a crash in between carriers are asked again, and find
        it in their stores.
        """
        with self._lock:
            recording = self._look(key)
            if paths.SIDECAR not in recording.suffixes:
                return SpaceResult.NOT_NEEDED
            step = self._dues.stage_with(recording, outlet.done_suffix)
            if step is Stage.END and self._removes:
                file_moves.remove(self._disk, recording)
                return SpaceResult.NOT_NEEDED
            is_made = self._displace() or self._give_up_audio(recording, step)
            return SpaceResult.MADE if is_made else SpaceResult.NONE

    def _displace(self) -> bool:
        """Removes a recording that is kept, though all carriers have stored it; whether there was any."""
        oldest = self._displaceable.next()
        if oldest is None:
            return False
        file_moves.remove(self._disk, oldest)
        self.displaced.append(RecordingKey(oldest.day, oldest.id))
        return True

    def _give_up_audio(self, recording: Recording, step: Stage) -> bool:
        """Of one that all carriers have stored, and nobody refused; ``step`` is what comes next for it."""
        is_stored = self._dues.is_stored and step in (Stage.NOTIFIERS, Stage.END)
        if not is_stored or paths.AUDIO not in recording.suffixes:
            return False
        self._disk.unlink(recording.audio)
        if not self._removes:
            self.displaced.append(RecordingKey(recording.day, recording.id))
        return True

    def _advance(self, recording: Recording) -> Stage | None:
        """The next step of a recording, seen by who holds the lock; None when it is gone."""
        if paths.SIDECAR not in recording.suffixes:
            return None
        step = self._dues.stage(recording)
        if step is Stage.GRAVE:
            self._bury(recording)
        elif step is Stage.NOTIFIERS and self._removes:
            self._disk.unlink(recording.audio)
        elif step is Stage.END and self._removes:
            file_moves.remove(self._disk, recording)
        elif step is Stage.END:
            done = file_moves.make_directory(self._disk, self._spool.done / recording.day)
            file_moves.move(self._disk, recording, done)
        return step

    def _bury(self, recording: Recording, *lines: str) -> None:
        """``lines`` are reasons that are in no file.

        What outlets left that nobody knows any more follows after the next start: to look for that would be to list
        the whole day, for each of a day's thousands.
        """
        grave = file_moves.make_directory(self._disk, self._spool.dead / recording.day)
        reason = "".join(f"{line}\n" for line in (*refusal_lines(recording), *lines))
        file_moves.dead_letter(self._disk, recording, grave, reason)


def _encode(receipt: Mapping[str, Any], at: str) -> bytes:
    """A receipt as its file holds it. One that is too large to be read again says only that, and when it was."""
    content = msgspec.json.format(msgspec.json.encode({**receipt, "at": at})) + b"\n"
    if len(content) <= catalog.MAX_RECEIPT:
        return content
    return msgspec.json.format(msgspec.json.encode({"truncated": True, "at": at})) + b"\n"


def timestamp(seconds: float) -> str:
    """``seconds`` since the epoch in ISO 8601, UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
