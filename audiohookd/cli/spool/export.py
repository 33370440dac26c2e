"""``audiohookctl spool export``: copies finished recordings to a directory, and verifies them."""

import argparse
import errno
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from audiohookd.cli.formatting import counted
from audiohookd.cli.progress import Progress
from audiohookd.cli.spool.list_ import day
from audiohookd.cli.spool.lookup import WHOLE, Days, Found, Place, again, audio_of, recordings, search
from audiohookd.cli.usage_error import UsageError
from audiohookd.escaping import printable
from audiohookd.spool import paths
from audiohookd.spool.catalog import Recording
from audiohookd.spool.finalize import sync_directory
from audiohookd.spool.format.sidecar import AudioFile
from audiohookd.spool.paths import DIRECTORY_MODE, FILE_MODE, SpoolPaths

#: Attempts to copy a recording that moves from one state to another during the copy.
_ATTEMPTS = 3


def add_parser(actions: Any, place: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds the parser of the action and its arguments."""
    parser: argparse.ArgumentParser = actions.add_parser(
        "export",
        parents=[place],
        help="copy finished recordings to a directory, and verify them",
        usage="%(prog)s [options] (ID... | --all | --since DAY) DEST",
    )
    add = parser.add_argument
    add("words", metavar="ID... DEST", nargs="+", help="ids or prefixes of ids, then the directory to copy to")
    add("--all", action="store_true", help="all recordings in ready/, done/ and dead/")
    add("--since", type=day, metavar="DAY", help="recordings started on DAY or later, such as 2026-01-31 (UTC)")
    return parser


def run(place: Place, arguments: argparse.Namespace) -> int:
    """Copies recordings to ``DEST/DAY``. Skips files that are there with the same content."""
    *ids, destination = arguments.words
    if bool(ids) + arguments.all + bool(arguments.since) != 1:
        raise UsageError("spool export: give ids, --all or --since DAY, then the directory to copy to")
    outcomes: Counter[str] = Counter()
    wanted = _wanted(place.spool, ids, arguments.since)
    with Progress("exported", total=len(ids) or None) as progress:
        for found in wanted:
            try:
                outcomes[_export(place.spool, found, Path(destination), progress)] += 1
            except NotCopied as error:
                outcomes["failed"] += 1
                progress.say(printable(f"audiohookctl: spool: {found.files.id}: {error}"), sys.stderr)
            progress.done()
    print(_sum(outcomes, destination))
    return 1 if outcomes["failed"] else 0


def _wanted(spool: SpoolPaths, ids: list[str], since: str | None) -> Iterator[Found]:
    if ids:
        return iter([search(spool, prefix, WHOLE) for prefix in ids])
    return recordings(spool, WHOLE, Days(since or ""))


def _export(spool: SpoolPaths, found: Found, destination: Path, progress: Progress) -> str:
    """Exports one recording, and returns the outcome. A daemon may move or delete the recording at any moment."""
    now: Recording | None = found.files
    for _ in range(_ATTEMPTS):
        if now is None:
            return "gone"
        try:
            return copy_recording(now, audio_of(spool, now), destination / now.day, progress.read)
        except FileNotFoundError:
            now = again(spool, now)
    raise NotCopied("the audio is missing")


def _sum(outcomes: Counter[str], destination: str) -> str:
    said = [f"{counted(outcomes['copied'] + outcomes['alone'], 'recording')} exported to {destination}"]
    if outcomes["alone"]:
        said.append(f"{outcomes['alone']:,} of them without audio, which was uploaded and deleted here")
    if outcomes["there"]:
        said.append(f"{outcomes['there']:,} exported before")
    if outcomes["gone"]:
        said.append(f"{outcomes['gone']:,} delivered and deleted during the export")
    if outcomes["failed"]:
        said.append(f"{outcomes['failed']:,} failed")
    return ", ".join(said)


_BLOCK = 1 << 20


class NotCopied(Exception):
    """The recording was not copied. The text says why. Existing files are unchanged."""


class _Recording(msgspec.Struct, frozen=True):
    audio: AudioFile | None


def copy_recording(recording: Recording, audio: Path | None, directory: Path, count: Callable[[int], None]) -> str:
    """Copies audio and sidecar to ``directory``, the sidecar last, and syncs both to disk.

    If the audio was uploaded and deleted, the receipts that name its place are copied instead.

    :param audio: path of the audio; None if there is none.
    :param count: called with the number of bytes of each block of audio.
    :returns: ``copied``; ``there`` if all files were copied before; ``alone`` if only the sidecar and receipts were
        copied, because the audio was uploaded and deleted.
    :raises NotCopied: the audio does not match the sidecar, or a different file of that name exists.
    :raises FileNotFoundError: the recording was moved, or has neither audio nor a receipt for it.
    :raises OSError: the disk reported another error.
    """
    try:
        promised = msgspec.convert(recording.read(), _Recording).audio
    except ValueError as error:  # includes msgspec's errors
        raise NotCopied(f"the sidecar cannot be read: {error}") from None
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
    """Copies one file. Returns False if a file with this name and content exists."""
    if path.exists():
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                return False
        raise NotCopied(f"{path} exists with other content: not overwritten")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if _write(partial, content) != sha256:
            raise NotCopied("the audio does not match the SHA-256 in the sidecar")
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_directory(path.parent)
    return True


def _write(path: Path, content: Iterable[bytes]) -> str:
    """Writes a file, syncs it to disk, and returns the SHA-256 of its content."""
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
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _blocks(path: Path, count: Callable[[int], None]) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            count(len(block))
            yield block
