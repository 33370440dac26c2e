"""Where things are in a spool. No other module composes these paths.

::

    draft/ID.jsonl .wav           a recording that grows, or that was left behind by a crash
    ready/DAY/ID.json .wav        whole; waits to be carried away, where there is somebody to do so
    ready/DAY/ID.stored.NAME.json the receipt of the carrier NAME: it is stored there, and that was confirmed
    ready/DAY/ID.told.NAME.json   the notifier NAME has told of it
    ready/DAY/ID.refused.NAME.json NAME will never take it, and why; it waits for the others, then it is dead
    done/DAY/                     nothing is left to be done
    dead/DAY/                     can never be delivered; ID.reason.txt says why
    broken/                       drafts of which no recording can be made; ID.reason.txt says why
    lock                          held by the daemon whose spool it is, as draft/ itself is
    wake                          is touched to make that daemon look at everything again, at once
"""

import re
from pathlib import Path
from typing import NamedTuple

#: Modes of the files and directories of a spool: the group may read them.
FILE_MODE = 0o640
DIRECTORY_MODE = 0o750

#: A recording's id, and the start of its files' names. Nothing else is ours.
RECORDING_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: The directories of days.
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")

AUDIO = "wav"
SIDECAR = "json"
JOURNAL = "jsonl"
REASON = "reason.txt"


class SpoolPaths(NamedTuple):
    """The places below ``directory``."""

    directory: Path

    @property
    def draft(self) -> Path:
        """Recordings that grow."""
        return self.directory / "draft"

    @property
    def ready(self) -> Path:
        """Recordings that are whole, by day."""
        return self.directory / "ready"

    @property
    def done(self) -> Path:
        """Recordings that are delivered, by day."""
        return self.directory / "done"

    @property
    def dead(self) -> Path:
        """Recordings that can never be delivered, by day."""
        return self.directory / "dead"

    @property
    def broken(self) -> Path:
        """Drafts of which no recording can be made."""
        return self.directory / "broken"

    @property
    def lock(self) -> Path:
        """Held by the daemon."""
        return self.directory / "lock"

    @property
    def wake(self) -> Path:
        """Touched to wake the daemon."""
        return self.directory / "wake"


def stored_suffix(name: str) -> str:
    """The suffix of the receipt of carrier ``name``."""
    return f"stored.{name}.json"


def notified_suffix(name: str) -> str:
    """The suffix of the mark of notifier ``name``."""
    return f"told.{name}.json"


def rejected_suffix(name: str) -> str:
    """The suffix of the mark of the carrier, or of the notifier, ``name`` that will never take a recording."""
    return f"refused.{name}.json"


def names(suffixes: "frozenset[str] | set[str]", kind: str) -> set[str]:
    """The names in ``suffixes`` of the ``kind`` "stored", "told" or "refused"."""
    start, end = f"{kind}.", ".json"
    return {one[len(start) : -len(end)] for one in suffixes if one.startswith(start) and one.endswith(end)}
