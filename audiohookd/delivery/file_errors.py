"""Whether a failed delivery is caused by a local file (pure)."""

import errno
from pathlib import Path

from audiohookd.interfaces import IRecording


class Unreadable(Exception):
    """A file of this one recording cannot be read, which says nothing about the destination or other recordings."""


def is_local_file_error(error: OSError, recording: IRecording) -> bool:
    """Whether ``error`` concerns a file of ``recording``: it names one, or has an errno that only disks raise.

    Sockets raise OSError, too, but name no file.
    """
    if isinstance(error.filename, str):
        path = Path(error.filename)
        return path.parent == recording.sidecar.parent and path.name.startswith(f"{recording.id}.")
    return error.errno == errno.EIO
