"""From draft to ready, in a worker thread, with what lies on disk alone.

The order is such that wherever it ends, by a failure or by ``kill -9``, there is enough to go on from: the journal is
removed last, and a sidecar is in ``ready`` only when its audio is there.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audiohookd.protocol.media import Media
from audiohookd.spool import wav
from audiohookd.spool.files import DIRECTORY_MODE, FILE_MODE, DraftPaths
from audiohookd.spool.journal import Facts, read_facts
from audiohookd.spool.sidecar import AudioFile, compose


def make_ready(draft: DraftPaths, ready: Path, recording: Mapping[str, Any]) -> Path:
    """Completes the files of ``draft`` and moves them below ``ready``, into a directory named by the day (UTC).

    :param recording: for the sidecar.
    :returns: the path of the audio, or of the sidecar when there is no audio.
    :raises OSError: whatever the disk refused; what is there stays.
    :raises ValueError: the journal has no facts in it.
    """
    facts = _facts(draft.journal)
    media = facts.wire_media()
    samples = 0 if media is None else _complete_audio(draft.audio, media)
    audio = None if media is None else _describe(draft.audio)
    _write_sidecar(draft, facts, samples, audio, recording)
    directory = _day_directory(ready, facts)
    if audio is not None:
        _move(draft.audio, directory)
    _move(draft.sidecar, directory)
    _sync_directory(draft.journal.parent)
    draft.journal.unlink()
    return directory / (draft.sidecar if audio is None else draft.audio).name


def _facts(journal: Path) -> Facts:
    with journal.open("rb") as lines:
        return read_facts(lines.readline())


def _complete_audio(path: Path, media: Media) -> int:
    """Sizes into the header, then a pad byte to the end. Returns the samples (per channel)."""
    start = wav.header_bytes(media)
    with path.open("r+b", buffering=0) as file:
        data_bytes = wav.data_bytes_of(file.read(start))
        if data_bytes is None:  # else this was done before, and a pad byte that is no audio may stand at the end
            data_bytes = path.stat().st_size - start
        os.pwrite(file.fileno(), wav.header(media, data_bytes), 0)
        os.pwrite(file.fileno(), wav.padding(data_bytes), start + data_bytes)
        os.fsync(file.fileno())
    return data_bytes // media.frame_bytes


def _describe(path: Path) -> AudioFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return AudioFile(path.name, file.tell(), digest.hexdigest())


def _write_sidecar(
    draft: DraftPaths, facts: Facts, samples: int, audio: AudioFile | None, recording: Mapping[str, Any]
) -> None:
    def read_lines() -> Iterator[bytes]:
        with draft.journal.open("rb") as lines:
            lines.readline()
            yield from lines

    file = os.open(draft.sidecar, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    with open(file, "wb") as sidecar:
        sidecar.writelines(compose(facts, samples, audio, recording, read_lines))
        sidecar.flush()
        os.fsync(file)


def _day_directory(ready: Path, facts: Facts) -> Path:
    directory = ready / datetime.fromtimestamp(facts.started_at, UTC).strftime("%Y-%m-%d")
    if not directory.is_dir():
        directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        _sync_directory(ready)
    return directory


def _move(file: Path, directory: Path) -> None:
    """On disk before anything else happens."""
    file.rename(directory / file.name)
    _sync_directory(directory)


def _sync_directory(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
