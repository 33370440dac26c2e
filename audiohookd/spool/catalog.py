"""Whole recordings on disk, by day: in ``ready``, ``done`` or ``dead``. For worker threads: all of it blocks."""

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

#: Bytes of a receipt. The daemon writes no larger one.
MAX_RECEIPT = 1 << 20

_receipt = msgspec.json.Decoder(dict[str, Any])


@implementer(IRecording)
class Recording:
    """A recording whose files are ``directory / f"{id}.{suffix}"``.

    :param suffixes: those that were there when it was looked at.
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
        """The carriers that had stored it."""
        return paths.names(self.suffixes, "stored")

    @property
    def notifiers(self) -> set[str]:
        """The notifiers that had told of it."""
        return paths.names(self.suffixes, "told")

    def path(self, suffix: str) -> Path:
        """Of one of its files, be it there or not."""
        return self.directory / f"{self.id}.{suffix}"

    def read(self) -> Mapping[str, Any]:
        """See :class:`IRecording`."""
        with self.sidecar.open("rb") as file:
            return read_recording(file)

    def receipts(self) -> Mapping[str, Mapping[str, Any]]:
        """See :class:`IRecording`. Of the carriers that had stored it when it was looked at."""
        return {name: _receipt.decode(self.read_receipt(paths.stored_suffix(name))) for name in sorted(self.carriers)}

    def read_receipt(self, suffix: str) -> bytes:
        """One of the small files beside it.

        :raises OSError: it cannot be read. ValueError: it has more than :data:`MAX_RECEIPT` bytes.
        """
        with self.path(suffix).open("rb") as file:
            content = file.read(MAX_RECEIPT + 1)
        if len(content) > MAX_RECEIPT:
            raise ValueError(f"{self.id}.{suffix} has more than {MAX_RECEIPT:,} bytes")
        return content


def iter_days(shelf: Path) -> list[Path]:
    """The directories of days, oldest first; none when the shelf is not there."""
    try:
        return sorted(entry for entry in shelf.iterdir() if paths.DAY.fullmatch(entry.name))
    except FileNotFoundError:
        return []


def iter_recordings(shelf: Path) -> Iterator[Recording]:
    """All recordings, oldest day first; one day's names are held at a time. What is not ours is passed over."""
    for day in iter_days(shelf):
        yield from iter_day(day)


def iter_day(day: Path) -> Iterator[Recording]:
    """The recordings in the directory of a day; whatever has one of their names, be it whole or not."""
    for recording_id, names in groupby(_names(day), lambda name: name.partition(".")[0]):
        yield Recording(day, recording_id, frozenset(name.partition(".")[2] for name in names))


def _names(day: Path) -> list[str]:
    """Sorted. Names alone, for there may be a million of them."""
    try:
        with os.scandir(day) as entries:
            return sorted(entry.name for entry in entries if _is_ours(entry))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_ours(entry: os.DirEntry[str]) -> bool:
    recording_id, _, suffix = entry.name.partition(".")
    is_named_so = bool(suffix) and paths.RECORDING_ID.fullmatch(recording_id) is not None
    return is_named_so and entry.is_file(follow_symlinks=False)


def stat_recording(day: Path, recording_id: str, suffixes: Iterable[str]) -> Recording:
    """One recording as it is now, as far as ``suffixes`` go; a few calls of the system, however full the day is."""
    there = (suffix for suffix in suffixes if is_regular(day / f"{recording_id}.{suffix}"))
    return Recording(day, recording_id, frozenset(there))
