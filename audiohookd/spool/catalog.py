"""Lists the finished recordings in ``ready``, ``done`` or ``dead``, by day. All of it blocks: for worker threads."""

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
from zope.interface import implementer

from audiohookd.interfaces import IRecording
from audiohookd.spool import paths
from audiohookd.spool.format.sidecar_reader import read_recording
from audiohookd.spool.safe_files import is_regular

#: Largest size of a receipt, in bytes. The daemon writes no larger one.
MAX_RECEIPT = 1 << 20

_receipt = msgspec.json.Decoder(dict[str, Any])


@implementer(IRecording)
class Recording:
    """A finished recording. Its files are ``directory / f"{id}.{suffix}"``.

    :param suffixes: the suffixes of the files that existed when the directory was listed.
    """

    def __init__(self, directory: Path, recording_id: str, suffixes: frozenset[str]) -> None:
        self.directory = directory
        self.id = recording_id
        self.suffixes = suffixes

    def __repr__(self) -> str:
        return f"<recording {self.id} of {self.day}>"

    @property
    def day(self) -> str:
        """See :class:`IRecording`."""
        return self.directory.name

    @property
    def audio(self) -> Path:
        """See :class:`IRecording`."""
        return self.path(paths.AUDIO)

    @property
    def sidecar(self) -> Path:
        """See :class:`IRecording`."""
        return self.path(paths.SIDECAR)

    @property
    def carriers(self) -> set[str]:
        """The names of the carriers that had stored the recording when the directory was listed."""
        return paths.names(self.suffixes, "stored")

    @property
    def notifiers(self) -> set[str]:
        """The names of the notifiers that had announced the recording when the directory was listed."""
        return paths.names(self.suffixes, "told")

    def path(self, suffix: str) -> Path:
        """The path of the file with ``suffix``. The file need not exist."""
        return self.directory / f"{self.id}.{suffix}"

    def read(self) -> Mapping[str, Any]:
        """See :class:`IRecording`."""
        with self.sidecar.open("rb") as file:
            return read_recording(file)

    def receipts(self) -> Mapping[str, Mapping[str, Any]]:
        """See :class:`IRecording`. Reads the receipts of :attr:`carriers`."""
        return {name: _receipt.decode(self.read_receipt(paths.stored_suffix(name))) for name in sorted(self.carriers)}

    def read_receipt(self, suffix: str) -> bytes:
        """The content of the receipt with ``suffix``.

        :raises OSError: the file cannot be read.
        :raises ValueError: the file has more than :data:`MAX_RECEIPT` bytes.
        """
        with self.path(suffix).open("rb") as file:
            content = file.read(MAX_RECEIPT + 1)
        if len(content) > MAX_RECEIPT:
            raise ValueError(f"{self.id}.{suffix} has more than {MAX_RECEIPT:,} bytes")
        return content


def iter_days(directory: Path) -> list[Path]:
    """The directories of days below ``directory``, oldest first. Empty if ``directory`` does not exist."""
    try:
        return sorted(entry for entry in directory.iterdir() if paths.DAY.fullmatch(entry.name))
    except FileNotFoundError:
        return []


def iter_recordings(directory: Path) -> Iterator[Recording]:
    """Iterates over all recordings below ``directory``, oldest day first.

    Only the names of one day are in memory at a time. Files with other names than a recording has are skipped.
    """
    for day in iter_days(directory):
        yield from iter_day(day)


def iter_day(day: Path) -> Iterator[Recording]:
    """Iterates over the recordings in the directory of a day, including those with missing files."""
    for recording_id, names in groupby(_names(day), lambda name: name.partition(".")[0]):
        yield Recording(day, recording_id, frozenset(name.partition(".")[2] for name in names))


def _names(day: Path) -> list[str]:
    """The sorted names of recordings' files. Only names are kept, because a day may have a million of them."""
    try:
        with os.scandir(day) as entries:
            return sorted(entry.name for entry in entries if _is_file_of_recording(entry))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_file_of_recording(entry: os.DirEntry[str]) -> bool:
    recording_id, _, suffix = entry.name.partition(".")
    is_named_so = bool(suffix) and paths.RECORDING_ID.fullmatch(recording_id) is not None
    return is_named_so and entry.is_file(follow_symlinks=False)


def stat_recording(day: Path, recording_id: str, suffixes: Iterable[str]) -> Recording:
    """The recording with the files that exist now, of the given ``suffixes``.

    Takes one system call for each suffix, however many files the day has.
    """
    existing = (suffix for suffix in suffixes if is_regular(day / f"{recording_id}.{suffix}"))
    return Recording(day, recording_id, frozenset(existing))
