"""A copy of a recording elsewhere, whole or not at all."""

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from audiohookd.spool import paths
from audiohookd.spool.catalog import Recording
from audiohookd.spool.finalize import sync_directory
from audiohookd.spool.format.sidecar import AudioFile
from audiohookd.spool.paths import DIRECTORY_MODE, FILE_MODE

_BLOCK = 1 << 20


class NotCopied(Exception):
    """There is no copy, and the text says why. What was there before is there still."""


class _Recording(msgspec.Struct, frozen=True):
    audio: AudioFile | None


def copy_recording(recording: Recording, audio: Path | None, directory: Path, count: Callable[[int], None]) -> str:
    """Copies audio and sidecar to ``directory``, the sidecar last; both are on disk then.

    Where the audio was carried away, the receipts that say where to are copied in its place.

    :param audio: where it is; None for nowhere.
    :param count: told of bytes of audio as they are read.
    :returns: ``copied``; ``there`` when that was done before; ``alone`` when there is only the sidecar, for the audio
        was carried away.
    :raises NotCopied: the audio is not what the sidecar says, or other files of that name are in the way.
    :raises FileNotFoundError: the recording is not where it was, or has no audio and no receipt for it.
    :raises OSError: a disk refused.
    """
    try:
        promised = msgspec.convert(recording.read(), _Recording).audio
    except ValueError as fault:  # also what msgspec raises
        raise NotCopied(f"the sidecar cannot be read: {fault}") from None
    directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    is_new = False
    if promised is not None and audio is not None:
        is_new = _copy(_blocks(audio, count), promised.sha256, directory / recording.audio.name)
    elif promised is not None:
        is_new = _copy_receipts(recording, directory)
    is_new |= _copy_as_it_is(recording.sidecar, directory / recording.sidecar.name)
    if not is_new:
        return "there"
    return "alone" if promised is not None and audio is None else "copied"


def _copy_receipts(recording: Recording, directory: Path) -> bool:
    if not recording.carriers:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(recording.audio))
    is_new = False
    for name in sorted(recording.carriers):
        path = recording.path(paths.stored_suffix(name))
        is_new |= _copy_as_it_is(path, directory / path.name)
    return is_new


def _copy_as_it_is(source: Path, path: Path) -> bool:
    with source.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return _copy(_blocks(source, lambda _: None), sha256, path)


def _copy(content: Iterable[bytes], sha256: str, path: Path) -> bool:
    """False when it is there already."""
    if path.exists():
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                return False
        raise NotCopied(f"{path} is there, and is another one: it was not touched")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if _write(partial, content) != sha256:
            raise NotCopied("the audio is not what the sidecar says")
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_directory(path.parent)
    return True


def _write(path: Path, content: Iterable[bytes]) -> str:
    """The SHA-256 of what was written, and is on disk."""
    digest = hashlib.sha256()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    with open(file, "wb", buffering=0) as copy:
        for block in content:
            digest.update(block)
            _write_all(copy.fileno(), block, path)
        os.fsync(copy.fileno())
    return digest.hexdigest()


def _write_all(file: int, block: bytes, path: Path) -> None:
    rest = memoryview(block)
    try:
        while rest:
            rest = rest[os.write(file, rest) :]
    except OSError as fault:
        raise OSError(fault.errno, fault.strerror, str(path)) from fault


def _blocks(path: Path, count: Callable[[int], None]) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            count(len(block))
            yield block
