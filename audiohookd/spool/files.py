"""The files of one draft, and how they grow. For the writer's thread only."""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from audiohookd.spool import wav
from audiohookd.spool.journal import Facts, first_line

FILE_MODE = 0o640
DIRECTORY_MODE = 0o750

_IOV_MAX = os.sysconf("SC_IOV_MAX")


class DraftPaths:
    """Where the files of a draft are."""

    def __init__(self, directory: Path, recording_id: str) -> None:
        self.journal = directory / f"{recording_id}.jsonl"
        self.audio = directory / f"{recording_id}.wav"
        self.sidecar = directory / f"{recording_id}.json"


class DraftFiles:
    """Audio and journal of one draft, made when first written to.

    The journal comes first: audio without it could not be told what it is after a crash. Later, each piece of audio
    comes before the entries that speak of it.
    """

    def __init__(self, paths: DraftPaths, facts: Facts) -> None:
        self._paths = paths
        self._facts = facts
        self._media = facts.wire_media()
        self._journal: int | None = None
        self._audio: int | None = None

    def append(self, audio: Sequence[bytes], journal: Sequence[bytes], last: bool) -> None:
        """Writes all of it; ``last`` says that nothing will follow.

        :raises OSError: not all could be written. The files are closed, and end wherever it stopped.
        """
        failed = True
        try:
            if self._journal is None:
                self._journal = self._create(self._paths.journal, first_line(self._facts))
                if self._media is not None:
                    self._audio = self._create(self._paths.audio, wav.growing_header(self._media))
            self._write(self._audio, audio, self._paths.audio)
            self._write(self._journal, journal, self._paths.journal)
            failed = False
        finally:
            if failed or last:
                self._close()

    def _create(self, path: Path, start: bytes) -> int:
        # Never over an old one: with O_EXCL a recording cannot eat another.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            self._write(file, (start,), path)
        except OSError:
            os.close(file)
            raise
        return file

    def _write(self, file: int | None, pieces: Sequence[bytes], path: Path) -> None:
        if file is None:
            if any(pieces):
                raise OSError(errno.EBADF, "a recording without media takes no audio", str(path))
            return
        try:
            write_all(file, pieces)
        except OSError as fault:
            raise OSError(fault.errno, fault.strerror, str(path)) from fault

    def _close(self) -> None:
        for file in (self._journal, self._audio):
            if file is not None:
                os.close(file)
        self._journal = self._audio = None


def write_all(
    file: int,
    pieces: Sequence[bytes],
    writev: Callable[[int, Sequence[bytes | memoryview]], int] = os.writev,
) -> None:
    """Writes all ``pieces``, in as few calls as the system allows.

    :raises OSError: what was written until then, stays.
    """
    for start in range(0, len(pieces), _IOV_MAX):
        rest: list[bytes | memoryview] = [piece for piece in pieces[start : start + _IOV_MAX] if piece]
        while rest:
            _advance(rest, writev(file, rest))


def _advance(pieces: list[bytes | memoryview], written: int) -> None:
    """Takes the first ``written`` bytes away from ``pieces``."""
    whole = 0
    while whole < len(pieces) and len(pieces[whole]) <= written:
        written -= len(pieces[whole])
        whole += 1
    del pieces[:whole]
    if written:
        pieces[0] = memoryview(pieces[0])[written:]
