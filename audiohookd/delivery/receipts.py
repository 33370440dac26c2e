"""Delivery state on disk: which recordings are due and which are done. For worker threads.

The state is read from the disk each time, since other threads and operators change it.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import msgspec

from audiohookd.delivery import file_moves
from audiohookd.delivery.destination import Destination
from audiohookd.delivery.file_moves import NO_ROOM, TEMP_SUFFIX, FileOperations
from audiohookd.delivery.pending_queue import RecordingKey
from audiohookd.delivery.rejection import lines as rejection_lines
from audiohookd.delivery.rejection import rejection_of
from audiohookd.delivery.scan import Orphans, Scan, ScanResult, find_orphans
from audiohookd.delivery.stages import Stage, Stages
from audiohookd.spool import catalog, paths
from audiohookd.spool.catalog import Recording
from audiohookd.spool.paths import SpoolPaths

#: Bytes of the reserve: room for some 250 receipts in blocks of 4 KiB.
RESERVE_SIZE = 1 << 20
#: Bytes that must be free to create the reserve, so that it takes no room from calls in progress.
MIN_FREE_FOR_RESERVE = 64 << 20


class Recorded(NamedTuple):
    """What follows from a delivery that is recorded.

    :ivar stage: the next stage of the recording; None when it no longer exists.
    :ivar is_evicted: whether the full disk cost the local copy, or its audio, that ``keeps_local`` keeps.
    """

    stage: Stage | None = None
    is_evicted: bool = False


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

    def recover(self) -> Orphans:
        """Creates the reserve, completes interrupted moves, then searches for orphaned audio; see
        :func:`file_moves.recover_moves`.
        """
        with self._lock:
            self._make_reserve()
            file_moves.recover_moves(self._disk, self._spool)
        return find_orphans(self._spool)

    def load_if_due(self, key: RecordingKey, destination: Destination) -> Recording | None:
        """The recording as it is now, if ``destination`` has to deliver it, else None."""
        recording = self._stat(key)
        return recording if self.is_due(recording, destination) else None

    def record_delivered(
        self, key: RecordingKey, destination: Destination, receipt: Mapping[str, Any], now: float
    ) -> Recorded:
        """Records a delivery by ``destination``, and moves or removes files when that completes a stage.

        On a disk without room for the receipt, a recording that all carriers have stored loses its audio first, and
        one that all destinations have is removed without a receipt. After a crash in between, carriers run again and
        find the recording in their stores.

        :param now: seconds since the epoch.
        :raises TypeError: ``receipt`` cannot be encoded as JSON.
        """
        content = _encode(receipt, timestamp(now))
        recording = self._stat(key)
        if paths.SIDECAR not in recording.suffixes:  # removed by hand
            return Recorded()
        stage = self._stages.stage_with(recording, destination.done_suffix)
        temp_path = recording.path(destination.done_suffix + TEMP_SUFFIX)
        is_evicted = False
        try:
            # The receipt of a recording that is removed at once needs no sync.
            self._create(temp_path, content, durable=not (self._removes and stage is Stage.DONE))
        except OSError as error:
            is_stored = self._stages.is_stored and stage in (Stage.NOTIFIERS, Stage.DONE)
            if error.errno not in NO_ROOM or not is_stored:
                raise
            is_evicted = not self._removes
            with self._lock:
                if stage is Stage.DONE:
                    file_moves.remove(self._disk, self._stat(key))
                    return Recorded(stage, is_evicted)
                self._disk.unlink(recording.audio)
            self._create(temp_path, content, durable=True)
        with self._lock:
            if not recording.sidecar.exists():
                self._disk.unlink(temp_path)
                return Recorded()
            self._disk.rename(temp_path, recording.path(destination.done_suffix))
            recorded = Recorded(self._advance(self._stat(key)), is_evicted)
            self._make_reserve()
        return recorded

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
                self._create(temp_path, rejection.encode(), durable=True)
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

    def _create(self, path: Path, content: bytes, durable: bool) -> None:
        """Writes a receipt or a rejection, on a full disk into the room of the reserve."""
        try:
            self._disk.create(path, content, durable)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self._disk.unlink(self._spool.reserve)
            self._disk.create(path, content, durable)

    def _make_reserve(self) -> None:
        """Creates the reserve if it is missing and there is room for it."""
        reserve = self._spool.reserve
        if reserve.exists() or self._disk.free_bytes(self._spool.directory) < MIN_FREE_FOR_RESERVE:
            return
        try:
            self._disk.create(reserve, bytes(RESERVE_SIZE), durable=True)
        except OSError as error:
            self._disk.unlink(reserve)
            if error.errno not in NO_ROOM:
                raise

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
