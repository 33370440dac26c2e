"""Whose fault it is that a delivery failed (pure)."""

import errno
from pathlib import Path

from audiohookd.interfaces import IRecording


class Unreadable(Exception):
    """The disk does not give a file of this one recording; that tells nothing of the other side, nor of others."""


def is_local_file_error(fault: OSError, recording: IRecording) -> bool:
    """Whether ``fault`` is about a file of ``recording``: it names one, or is what the disk alone says.

    What sockets raise is an OSError, too; it names no file.
    """
    if isinstance(fault.filename, str):
        path = Path(fault.filename)
        return path.parent == recording.sidecar.parent and path.name.startswith(f"{recording.id}.")
    return fault.errno == errno.EIO
