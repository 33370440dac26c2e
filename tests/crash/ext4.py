"""An ext4 file system on a loop device, with a simulated power loss: unwritten data of the kernel is lost.

An ioctl of ext4 shuts the file system down without a last write of its journal. The device then has what ext4 leaves
when the machine stops: all synced data, and sizes that a commit of the journal wrote before the data (delayed
allocation). The device itself does not lose or reorder writes.
"""

import fcntl
import os
import subprocess
import time
from pathlib import Path
from types import TracebackType

import pytest

from tests.programs import find_program, program

#: EXT4_IOC_SHUTDOWN, ``_IOR('X', 125, __u32)``, and its flag NOLOGFLUSH.
_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = (2).to_bytes(4, "little")
#: MiB: recordings of minutes.
_SIZE = 256
#: Seconds for which a killed process may keep the file system busy.
_PATIENCE = 20.0


def missing() -> str:
    """The reason why this machine cannot create such a file system, or an empty text."""
    if find_program("mkfs.ext4") is None:
        return "no mkfs.ext4 (Debian: apt install e2fsprogs)"
    return "" if _can_mount() else "mounting needs root and loop devices"


def needs_ext4() -> None:
    """Skips the calling test if this machine cannot create such a file system."""
    program("mkfs.ext4", package="e2fsprogs")
    if not _can_mount():
        pytest.skip("mounting needs root and loop devices")


def _can_mount() -> bool:
    """Tries to mount: a container may have root and the devices, but no permission."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        return False
    try:
        _run("losetup", "--find")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


class Ext4:
    """An ext4 that is mounted at ``mount`` while the context manager is active.

    :param image: the file with the file system, created new, on another file system.
    :raises subprocess.CalledProcessError: the file system cannot be created or mounted.
    """

    def __init__(self, image: Path, mount: Path) -> None:
        self.mount = mount
        self._image = image

    def __enter__(self) -> "Ext4":
        self.mount.mkdir(parents=True, exist_ok=True)
        with self._image.open("wb") as file:
            file.truncate(_SIZE << 20)
        _run(find_program("mkfs.ext4") or "mkfs.ext4", "-q", "-F", "-b", "4096", str(self._image))
        self._attach()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._detach()

    def cut_power(self) -> None:
        """Cuts the power: no more data reaches the device, and all writes fail."""
        directory = os.open(self.mount, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(directory, _SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(directory)

    def restart(self) -> None:
        """Mounts the device again; ext4 replays its journal. No process may have files of it open."""
        self._detach()
        self._attach()

    def _attach(self) -> None:
        _run("mount", "-t", "ext4", "-o", "loop", str(self._image), str(self.mount))

    def _detach(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                _run("umount", str(self.mount))
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
