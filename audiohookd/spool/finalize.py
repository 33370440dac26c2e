"""Turns a draft into a ready recording, using only the files on disk. Runs in a worker thread.

The order of the steps makes them repeatable: after an error or a ``kill -9`` at any point, a second run completes the
recording. A sidecar gets its name only when it is complete, and from then on the journal is not needed. A sidecar is
moved to ``ready`` last, when the audio is there and ``draft`` has no file of it left: once it is there, the recording
may be uploaded and deleted at any time.
"""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from audiohookd.protocol.media import Media
from audiohookd.spool import paths
from audiohookd.spool.format import wav
from audiohookd.spool.format.checksums import ALGORITHM, Checksum, Verified, read_checksums, verify
from audiohookd.spool.format.journal import JournalHeader, is_torn, read_header, read_lines
from audiohookd.spool.format.sidecar import AudioFile, compose
from audiohookd.spool.format.sidecar_reader import read_timestamp
from audiohookd.spool.paths import DIRECTORY_MODE
from audiohookd.spool.safe_files import is_regular, open_regular, write_new
from audiohookd.spool.write.draft_files import DraftPaths


def finalize_draft(draft: DraftPaths, ready: Path, is_left_behind: bool = False) -> Path:
    """Completes the files of ``draft`` and moves them to the directory of their day (UTC) below ``ready``.

    :param is_left_behind: the draft may have gone through a power loss: audio that does not match the checksums in
        the journal is cut off.
    :returns: the path of the audio, or of the sidecar if the recording has no audio.
    :raises OSError: a file operation failed. No data is lost, and the call can be repeated.
    :raises ValueError: the journal has no valid header, or the sidecar of an earlier attempt is not a sidecar.
    """
    if os.path.lexists(draft.journal):
        return _move(draft, _complete(draft, ready, is_left_behind))
    with open(open_regular(draft.sidecar, os.O_RDONLY), "rb") as sidecar:
        day = read_timestamp(sidecar)[:10]
    if not paths.DAY.fullmatch(day):
        raise ValueError(f"the sidecar has no valid start time: {day!r}")
    return _move(draft, _day_directory(ready, day))


def _complete(draft: DraftPaths, ready: Path, is_left_behind: bool) -> Path:
    """Writes the header of the audio and the sidecar.

    :returns: the directory of the day. An earlier attempt may have moved the audio there already.
    """
    facts = _header(draft.journal)
    media = facts.wire_media()
    directory = _day_directory(ready, datetime.fromtimestamp(facts.started_at, UTC).strftime("%Y-%m-%d"))
    if media is None:
        _write_sidecar(draft, facts, Verified(0, 0), None)
        return directory
    moved = directory / draft.audio.name
    path = moved if is_regular(moved) else draft.audio
    size = _data_bytes(path, media)
    found = Verified(size, size)
    if is_left_behind and facts.checksum == ALGORITHM:
        found = _verify(path, media, size, read_checksums(read_lines(draft.journal)))
    samples = Verified(*(size // media.frame_bytes for size in found))  # whole ones, of all channels
    _complete_audio(path, media, samples.size * media.frame_bytes)
    _write_sidecar(draft, facts, samples, _describe(path))
    return directory


def _header(journal: Path) -> JournalHeader:
    for line in islice(read_lines(journal), 1):
        return read_header(line)
    raise ValueError("the journal has no first line")


def _data_bytes(path: Path, media: Media) -> int:
    """Bytes of audio in the file. 0 if a crash came before the file was created."""
    start = wav.header_bytes(media)
    try:
        with open(open_regular(path, os.O_RDONLY), "rb") as file:
            header = file.read(start)
            size = file.seek(0, os.SEEK_END)
    except FileNotFoundError:
        return 0
    if len(header) < start:
        return 0
    known = wav.data_bytes_of(header)
    # An earlier attempt has completed a header with sizes; a pad byte that is not audio may follow the audio.
    return size - start if known is None else min(known, size - start)


def _verify(path: Path, media: Media, size: int, checksums: Iterable[Checksum]) -> Verified:
    if not size:
        return verify(io.BytesIO(), size, checksums)
    with open(open_regular(path, os.O_RDONLY), "rb") as file:
        file.seek(wav.header_bytes(media))
        return verify(file, size, checksums)


def _complete_audio(path: Path, media: Media, data_bytes: int) -> None:
    """Writes the sizes into the header, and cuts the file off after the audio and its pad byte."""
    file = open_regular(path, os.O_RDWR | os.O_CREAT)
    try:
        end = wav.header_bytes(media) + data_bytes
        os.ftruncate(file, end)
        os.pwrite(file, wav.header(media, data_bytes), 0)
        os.pwrite(file, wav.padding(data_bytes), end)
        os.fsync(file)
    finally:
        os.close(file)


def _describe(path: Path) -> AudioFile:
    with open(open_regular(path, os.O_RDONLY), "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return AudioFile(path.name, file.tell(), digest.hexdigest())


def _write_sidecar(draft: DraftPaths, facts: JournalHeader, samples: Verified, audio: AudioFile | None) -> None:
    def lines() -> Iterator[bytes]:
        return islice(read_lines(draft.journal), 1, None)

    pieces = compose(facts, samples.size, audio, is_torn(draft.journal), lines, samples.written)
    write_new(draft.partial_sidecar, pieces)
    draft.partial_sidecar.rename(draft.sidecar)


def _day_directory(ready: Path, day: str) -> Path:
    directory = ready / day
    if not directory.is_dir():
        directory.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        sync_directory(ready)
    return directory


def _move(draft: DraftPaths, directory: Path) -> Path:
    """Moves the files of the draft to ``directory``. Each step is on disk before the next one begins."""
    if os.path.lexists(draft.audio):
        draft.audio.rename(directory / draft.audio.name)
    sync_directory(draft.sidecar.parent)  # the rename of the sidecar is on disk
    sync_directory(directory)
    draft.journal.unlink(missing_ok=True)
    sync_directory(draft.journal.parent)
    draft.sidecar.rename(directory / draft.sidecar.name)
    sync_directory(directory)
    audio = directory / draft.audio.name
    return audio if audio.exists() else directory / draft.sidecar.name


def sync_directory(directory: Path) -> None:
    """Syncs the names in ``directory`` to the disk. Blocks."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
