"""Delivery state on disk: which recordings are due and which are done. For worker threads.

The state is read from the disk each time, since other threads and operators change it.
"""

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
from audiohookd.delivery.rejection import lines as rejection_lines
from audiohookd.delivery.rejection import rejection_of
from audiohookd.delivery.scan import Scan, ScanResult
from audiohookd.delivery.stages import Stage, Stages
from audiohookd.spool import catalog, paths
from audiohookd.spool.catalog import Recording
from audiohookd.spool.paths import SpoolPaths

#: Recordings that are evicted at most for one receipt. When that frees too little, the delivery is retried later.
EVICTED_AT_ONCE = 8


class SpaceResult(Enum):
    """The outcome of freeing space for a receipt on a full disk."""

    NONE = "none"
    MADE = "made"
    NOT_NEEDED = "not needed"


class Receipts:
    """Reads and writes the receipts, rejections and moves of all destinations.

    A lock lets one thread at a time move or remove files: two destinations may finish a recording at the same time.

    :param keeps_local: whether stored recordings are kept in the spool, while there is space.
    """

    def __init__(
        self,
        spool: SpoolPaths,
        destinations: Sequence[Destination],
        keeps_local: bool,
        disk: FileOperations | None = None,
    ) -> None:
        self._spool = spool
        self._stages = Stages(destinations)
        temp_suffixes = (suffix + TEMP_SUFFIX for suffix in self._stages.suffixes)
        self._suffixes = (paths.SIDECAR, paths.AUDIO, *self._stages.suffixes, *temp_suffixes)
        # Without a carrier the spool has the only copy.
        self._removes = self._stages.is_stored and not keeps_local
        self._disk = disk or FileOperations()
        self._lock = Lock()
        self._eviction_candidates = EvictionCandidates(spool.done, self._stages.receipts)
        #: Local copies that were evicted. The caller takes them out and logs them.
        self.evicted: deque[RecordingKey] = deque()

    def recover(self) -> Orphans:
        """Completes interrupted moves, then searches for orphaned audio; see :func:`file_moves.recover_moves`."""
        with self._lock:
            file_moves.recover_moves(self._disk, self._spool)
        return find_orphans(self._spool)

    def load_if_due(self, key: RecordingKey, destination: Destination) -> Recording | None:
        """The recording as it is now, if ``destination`` has to deliver it, else None."""
        recording = self._stat(key)
        return recording if self.is_due(recording, destination) else None

    def record_delivered(
        self, key: RecordingKey, destination: Destination, receipt: Mapping[str, Any], now: float
    ) -> bool:
        """Records a delivery by ``destination``, and moves or removes files when that completes a stage.

        :param now: seconds since the epoch.
        :returns: whether notifiers are next.
        :raises TypeError: ``receipt`` cannot be encoded as JSON.
        """
        content = _encode(receipt, timestamp(now))
        recording = self._stat(key)
        if paths.SIDECAR not in recording.suffixes:  # removed by hand
            return False
        # The receipt of a recording that is removed at once needs no sync.
        is_last = self._removes and self._stages.stage_with(recording, destination.done_suffix) is Stage.DONE
        temp_path = recording.path(destination.done_suffix + TEMP_SUFFIX)
        if not self._write(key, destination, temp_path, content, durable=not is_last):
            return False
        with self._lock:
            if not recording.sidecar.exists():
                self._disk.unlink(temp_path)
                return False
            self._disk.rename(temp_path, recording.path(destination.done_suffix))
            return self._advance(self._stat(key)) is Stage.NOTIFIERS

    def record_rejected(self, key: RecordingKey, destination: Destination, reason: str, now: float) -> Stage | None:
        """Records that ``destination`` rejected the recording for good; without other due destinations it is a dead
        letter.

        :param now: seconds since the epoch.
        :returns: the next stage; for :attr:`Stage.DEAD` the recording has already moved. None when it no longer
            exists.
        """
        rejection = rejection_of(reason, timestamp(now))
        with self._lock:
            recording = self._stat(key)
            if paths.SIDECAR not in recording.suffixes:
                return None
            stage = self._stages.stage_with(recording, destination.rejected_suffix)
            if stage is Stage.DEAD:
                self._dead_letter(recording, rejection.line(destination.name))
            else:
                temp_path = recording.path(destination.rejected_suffix + TEMP_SUFFIX)
                self._disk.create(temp_path, rejection.encode(), durable=True)
                self._disk.rename(temp_path, recording.path(destination.rejected_suffix))
            return stage

    def search(
        self, destination: Destination, after: RecordingKey | None, known: frozenset[RecordingKey], limit: int
    ) -> ScanResult:
        """Scans the spool for recordings that ``destination`` has to deliver; see :class:`Scan`.

        :param after: where the last scan ended.
        """
        return Scan(self, destination, known, limit).run(self._spool.ready, after)

    def is_due(self, recording: Recording, destination: Destination) -> bool:
        """Whether ``destination`` has to deliver the recording, by its files when it was read."""
        return self._stages.is_due(recording, destination)

    def finish(self, key: RecordingKey, recording: Recording) -> bool:
        """Completes a stage that was left unfinished by a crash, or by a destination that is no longer configured.

        :returns: whether there was anything to do.
        """
        stage = self._stages.stage(recording)
        has_audio_to_remove = self._removes and paths.AUDIO in recording.suffixes
        if stage is Stage.CARRIERS or (stage is Stage.NOTIFIERS and not has_audio_to_remove):
            return False
        with self._lock:
            self._advance(self._stat(key))
        return True

    def _stat(self, key: RecordingKey) -> Recording:
        return catalog.stat_recording(self._spool.ready / key.day, key.id, self._suffixes)

    def _write(
        self, key: RecordingKey, destination: Destination, temp_path: Path, content: bytes, durable: bool
    ) -> bool:
        """Writes a receipt; False when it is no longer needed."""
        for _ in range(EVICTED_AT_ONCE):
            try:
                self._disk.create(temp_path, content, durable)
                return True
            except OSError as error:
                space = self._free_space(key, destination) if error.errno in NO_ROOM else SpaceResult.NONE
                if space is SpaceResult.NONE:
                    raise
            if space is SpaceResult.NOT_NEEDED:
                return False
            durable = True
        self._disk.create(temp_path, content, durable)
        return True

    def _free_space(self, key: RecordingKey, destination: Destination) -> SpaceResult:
        """Frees space for the receipt of a recording that ``destination`` has just delivered.

        Kept local copies are evicted first: calls in progress need their space. Next, the audio of this recording is
        removed if all carriers have stored it, before the receipt that says so is written. After a crash in between,
        carriers run again and find the recording in their stores.
        """
        with self._lock:
            recording = self._stat(key)
            if paths.SIDECAR not in recording.suffixes:
                return SpaceResult.NOT_NEEDED
            stage = self._stages.stage_with(recording, destination.done_suffix)
            if stage is Stage.DONE and self._removes:
                file_moves.remove(self._disk, recording)
                return SpaceResult.NOT_NEEDED
            is_made = self._evict() or self._evict_audio(recording, stage)
            return SpaceResult.MADE if is_made else SpaceResult.NONE

    def _evict(self) -> bool:
        """Removes the oldest kept copy that all carriers have stored; False when there is none."""
        oldest = self._eviction_candidates.next()
        if oldest is None:
            return False
        file_moves.remove(self._disk, oldest)
        self.evicted.append(RecordingKey(oldest.day, oldest.id))
        return True

    def _evict_audio(self, recording: Recording, stage: Stage) -> bool:
        """Removes the audio of a recording that all carriers have stored and no destination has rejected.

        :param stage: the next stage of the recording.
        :returns: whether audio was removed.
        """
        is_stored = self._stages.is_stored and stage in (Stage.NOTIFIERS, Stage.DONE)
        if not is_stored or paths.AUDIO not in recording.suffixes:
            return False
        self._disk.unlink(recording.audio)
        if not self._removes:
            self.evicted.append(RecordingKey(recording.day, recording.id))
        return True

    def _advance(self, recording: Recording) -> Stage | None:
        """Acts on the next stage of a recording, with the lock held; None when the recording no longer exists."""
        if paths.SIDECAR not in recording.suffixes:
            return None
        stage = self._stages.stage(recording)
        if stage is Stage.DEAD:
            self._dead_letter(recording)
        elif stage is Stage.NOTIFIERS and self._removes:
            self._disk.unlink(recording.audio)
        elif stage is Stage.DONE and self._removes:
            file_moves.remove(self._disk, recording)
        elif stage is Stage.DONE:
            done = file_moves.make_directory(self._disk, self._spool.done / recording.day)
            file_moves.move(self._disk, recording, done)
        return stage

    def _dead_letter(self, recording: Recording, *lines: str) -> None:
        """Moves a recording to ``dead``.

        Files of destinations that are no longer configured move after the next start. To find them now would list the
        whole day for each of its thousands of recordings.

        :param lines: reasons that are in no file yet.
        """
        directory = file_moves.make_directory(self._disk, self._spool.dead / recording.day)
        reason = "".join(f"{line}\n" for line in (*rejection_lines(recording), *lines))
        file_moves.dead_letter(self._disk, recording, directory, reason)


def _encode(receipt: Mapping[str, Any], at: str) -> bytes:
    """Encodes a receipt for its file. If it is too large to be read again, the file has only its time and
    ``truncated``.
    """
    content = msgspec.json.format(msgspec.json.encode({**receipt, "at": at})) + b"\n"
    if len(content) <= catalog.MAX_RECEIPT:
        return content
    return msgspec.json.format(msgspec.json.encode({"truncated": True, "at": at})) + b"\n"


def timestamp(seconds: float) -> str:
    """``seconds`` since the epoch in ISO 8601, UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
