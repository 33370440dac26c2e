"""Simulates a power loss of a spool: only synced data survives.

The model assumes the worst case. A file is lost if its directory was not synced since its creation. A removed file
returns if its directory was not synced since. Each file ends where it ended at its last sync. Only a rename is
atomic, as on a file system with a journal: it is on disk if one of its two directories was synced, and never half of
it.
"""

import json
import os
from pathlib import Path
from typing import Any

_HOOK = Path(__file__).parent / "power"


class PowerLoss:
    """Tracks the syncs of a daemon, and restores the synced state of its spool.

    :param log: the directory for the log of syncs, on the same file system as the spool.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read = 0
        self._sizes: dict[int, int] = {}
        self._synced_at: dict[int | str, float] = {}
        #: Directories in the order of their last sync.
        self._directories: dict[Path, dict[str, int]] = {}
        #: Inodes that an earlier sync of a directory had and a later one has not: removed, or moved.
        self._gone: set[int] = set()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the daemon."""
        return {"PYTHONPATH": str(_HOOK), "POWER_LOG": str(self._log)}

    def strike(self, spool: Path) -> None:
        """Reduces ``spool`` to its synced state. The daemon must not run."""
        self._follow()
        there = {path.stat().st_ino: path for path in spool.rglob("*") if path.is_file()}
        survivors = self._survivors(there)
        for path in there.values():
            if path not in survivors:
                path.unlink()
        for path, inode in survivors.items():
            if there.get(inode) != path:
                path.unlink(missing_ok=True)
                os.link(self._kept(inode), path)
            size = min(self._sizes.get(inode, 0), path.stat().st_size)
            os.truncate(path, size)
            self._sizes[inode] = size
        for directory in {*self._directories, *(path.parent for path in survivors)}:
            here = {path.name: inode for path, inode in survivors.items() if path.parent == directory}
            self._directories[directory] = here
        self._gone.clear()

    def _survivors(self, there: dict[int, Path]) -> dict[Path, int]:
        """The surviving inodes, by the last name of each that is on disk."""
        names = {inode: there[inode] for inode in self._gone if inode in there}
        for directory, entries in self._directories.items():
            for name, inode in entries.items():
                names[inode] = directory / name
        return {path: inode for inode, path in names.items()}

    def _follow(self) -> None:
        if not self._log.exists():
            return
        data = self._log.read_bytes()
        end = data.rfind(b"\n") + 1
        for line in data[self._read : end].splitlines():
            self._take(json.loads(line))
        self._read = end

    def _take(self, note: dict[str, Any]) -> None:
        name = note.get("file") or note["directory"]
        if note["at"] < self._synced_at.get(name, 0.0):
            return  # a sync that began later has ended earlier
        self._synced_at[name] = note["at"]
        if "file" in note:
            self._sizes[note["file"]] = note["size"]
        else:
            directory = Path(note["directory"])
            before = self._directories.pop(directory, {})
            self._directories[directory] = note["names"]
            self._gone = (self._gone | set(before.values())) - set(note["names"].values())

    def _kept(self, inode: int) -> Path:
        return self._log.with_name(f"{self._log.name}.{inode}")
