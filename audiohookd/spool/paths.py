"""The layout of a spool. No other module composes these paths.

::

    draft/ID.jsonl .wav            a recording in progress, or one that a crash left behind
    ready/DAY/ID.json .wav         a finished recording; waits for delivery if a carrier is configured
    ready/DAY/ID.stored.NAME.json  the receipt of the carrier NAME, which has confirmed that it stored the recording
    ready/DAY/ID.told.NAME.json    the notifier NAME has announced the recording
    ready/DAY/ID.refused.NAME.json NAME rejected the recording for good, and why; moved to dead/ after the others
    done/DAY/                      delivered to all destinations
    dead/DAY/                      cannot be delivered; ID.reason.txt says why
    broken/                        drafts that cannot be repaired; ID.reason.txt says why
    lock                           locked by the daemon that uses the spool, as draft/ itself is
    reserve                        room for receipts, removed when the disk is full
    wake                           touch it to make the daemon scan the spool for deliveries at once
"""

import re
from pathlib import Path
from typing import NamedTuple

#: Modes of files and directories in a spool: readable by the group.
FILE_MODE = 0o640
DIRECTORY_MODE = 0o750

#: The id of a recording, with which the names of its files begin. The daemon ignores files with other names.
RECORDING_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: The name of the directory of a day.
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")

AUDIO = "wav"
SIDECAR = "json"
JOURNAL = "jsonl"
REASON = "reason.txt"


class SpoolPaths(NamedTuple):
    """The paths below the spool's ``directory``."""

    directory: Path

    @property
    def draft(self) -> Path:
        """Recordings in progress."""
        return self.directory / "draft"

    @property
    def ready(self) -> Path:
        """Finished recordings, by day."""
        return self.directory / "ready"

    @property
    def done(self) -> Path:
        """Delivered recordings, by day."""
        return self.directory / "done"

    @property
    def dead(self) -> Path:
        """Recordings that cannot be delivered, by day."""
        return self.directory / "dead"

    @property
    def broken(self) -> Path:
        """Drafts that cannot be repaired."""
        return self.directory / "broken"

    @property
    def lock(self) -> Path:
        """The lock file of the daemon."""
        return self.directory / "lock"

    @property
    def reserve(self) -> Path:
        """The file that is removed to make room for receipts when the disk is full."""
        return self.directory / "reserve"

    @property
    def wake(self) -> Path:
        """The file that an operator touches to make the daemon scan for deliveries."""
        return self.directory / "wake"


def stored_suffix(name: str) -> str:
    """The suffix of the receipt of carrier ``name``."""
    return f"stored.{name}.json"


def notified_suffix(name: str) -> str:
    """The suffix of the receipt of notifier ``name``."""
    return f"told.{name}.json"


def rejected_suffix(name: str) -> str:
    """The suffix of the file that records a permanent rejection by the carrier or notifier ``name``."""
    return f"refused.{name}.json"


def names(suffixes: "frozenset[str] | set[str]", kind: str) -> set[str]:
    """The names of carriers or notifiers in ``suffixes`` of the ``kind`` "stored", "told" or "refused"."""
    start, end = f"{kind}.", ".json"
    return {
        suffix[len(start) : -len(end)] for suffix in suffixes if suffix.startswith(start) and suffix.endswith(end)
    }
