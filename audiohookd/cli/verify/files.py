"""Recordings on disk: pairs of an audio file and a sidecar with the same name."""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from glob import escape
from pathlib import Path

from audiohookd.cli.usage_error import UsageError
from audiohookd.cli.verify import wav_reader
from audiohookd.cli.verify.checking import Seen, Stream
from audiohookd.spool import paths
from audiohookd.spool.paths import SpoolPaths

_AUDIO = f".{paths.AUDIO}"
_SIDECAR = f".{paths.SIDECAR}"
_JOURNAL = f".{paths.JOURNAL}"
#: Receipts of carriers and notifiers, which are JSON files too.
_RECEIPT = re.compile(rf"({paths.RECORDING_ID.pattern})\.(stored|told)\..*\.json")


class Files:
    """The recording ``name`` in a directory. See :class:`~audiohookd.cli.verify.checking.Item`."""

    def __init__(self, directory: Path, name: str, has_receipt: bool) -> None:
        self.where = str(directory / name)
        self._directory = directory
        self._name = name
        self._has_receipt = has_receipt

    def sidecar(self) -> AbstractContextManager[Stream] | None:
        """See Item."""
        try:
            return self._path(_SIDECAR).open("rb")
        except FileNotFoundError:
            return None

    def audio(self) -> AbstractContextManager[Stream] | None:
        """See Item."""
        try:
            return self._path(_AUDIO).open("rb")
        except FileNotFoundError:
            return None

    def seen(self) -> Seen | None:
        """See Item."""
        try:
            with self._path(_AUDIO).open("rb") as file:
                return Seen(os.fstat(file.fileno()).st_size, file.read(wav_reader.HEADER_LIMIT))
        except FileNotFoundError:
            return None

    def is_stored(self) -> bool:
        """See Item. The upload may have finished since the directory was read."""
        return self._has_receipt or any(self._directory.glob(f"{escape(self._name)}.{paths.stored_suffix('*')}"))

    def is_moving(self) -> bool:
        """See Item. In a spool the files of a recording are moved one by one."""
        has_audio, has_sidecar = self._path(_AUDIO).exists(), self._path(_SIDECAR).exists()
        if has_audio == has_sidecar:
            return not has_audio
        return self._is_elsewhere(_AUDIO if has_sidecar else _SIDECAR)

    def _is_elsewhere(self, suffix: str) -> bool:
        spool = SpoolPaths(self._directory.parent.parent)
        places = [spool.draft, *(shelf / self._directory.name for shelf in _shelves(spool))]
        paths = [place / f"{self._name}{suffix}" for place in places]
        if suffix == _SIDECAR:  # the daemon makes it from the journal
            paths.append(spool.draft / f"{self._name}{_JOURNAL}")
        return any(path.exists() for path in paths)

    def _path(self, suffix: str) -> Path:
        return self._directory / f"{self._name}{suffix}"


def find(target: Path) -> Iterator[Files]:
    """Finds the recordings at ``target``: a file of a recording, a directory, or a spool.

    Holds the file names of one directory at a time in memory. Skips drafts, which have no sidecar yet.

    :raises UsageError: the target does not exist, or is another kind of file.
    :raises OSError: a directory cannot be read.
    """
    if target.is_dir():
        for root in _roots(target):
            yield from _below(root)
    elif not target.exists():
        raise UsageError(f"verify: {target} does not exist")
    elif target.suffix in (_AUDIO, _SIDECAR):
        wanted = target.name.removesuffix(target.suffix)
        yield next(files for files in _of_directory(target.parent, only=wanted))
    else:
        raise UsageError(f"verify: {target} is neither a {_AUDIO} or {_SIDECAR} file nor a directory")


def _roots(directory: Path) -> list[Path]:
    spool = SpoolPaths(directory)
    if spool.draft.is_dir() and spool.ready.is_dir():
        return [shelf for shelf in _shelves(spool) if shelf.is_dir()]
    return [directory]


def _shelves(spool: SpoolPaths) -> tuple[Path, ...]:
    """The directories of finished recordings, in the order of their moves, so that none is missed."""
    return spool.dead, spool.ready, spool.done


def _below(root: Path) -> Iterator[Files]:
    def reraise(error: OSError) -> None:
        raise error

    for directory, directories, _ in os.walk(root, onerror=reraise):
        directories.sort()
        yield from _of_directory(Path(directory))


def _of_directory(directory: Path, only: str | None = None) -> Iterator[Files]:
    names = sorted(name for name in os.listdir(directory) if not name.startswith("."))
    receipts = {match[1] for match in map(_RECEIPT.fullmatch, names) if match}
    drafts = {name.removesuffix(_JOURNAL) for name in names if name.endswith(_JOURNAL)}
    found: set[str] = set()
    for name in names:
        stem, suffix = os.path.splitext(name)
        if suffix in (_AUDIO, _SIDECAR) and not _RECEIPT.fullmatch(name):
            found.add(stem)
    wanted = sorted(found - drafts) if only is None else [only]
    for stem in wanted:
        yield Files(directory, stem, stem in receipts)
