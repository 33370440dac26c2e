"""Processor time and memory of a process, as the kernel counts them."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_KIB = 1024


def processor(pid: int) -> float:
    """Processor seconds that all threads of a process have used, including ended threads, to the nanosecond.

    This is the kernel's clock of the process. ``clock_getcpuclockid`` of the C library computes its id the same way.
    """
    return time.clock_gettime((~pid << 3) | 2)


def stolen(processors: Iterable[int]) -> float:
    """Seconds that the host of the machine took from these processors, in total, while they had work."""
    return read_stolen(Path("/proc/stat").read_text(), processors)


def read_stolen(stat: str, processors: Iterable[int]) -> float:
    """Parses ``/proc/stat``. It has a line per processor: its name, and times, of which the eighth was stolen."""
    names = {f"cpu{number}" for number in processors}
    lines = (line.split() for line in stat.splitlines() if line.startswith("cpu"))
    return sum(int(line[8]) for line in lines if line[0] in names) / os.sysconf("SC_CLK_TCK")


class Memory(NamedTuple):
    """Bytes. ``pss`` counts the process's share of shared pages, ``private_dirty`` the pages of this process only."""

    pss: int
    private_dirty: int


def memory(pid: int) -> Memory:
    """The current memory of a process."""
    return read_memory(Path(f"/proc/{pid}/smaps_rollup").read_text())


def read_memory(rollup: str) -> Memory:
    """Parses ``/proc/PID/smaps_rollup``."""
    lines = (line.split() for line in rollup.splitlines()[1:])
    kib = {name.rstrip(":"): int(value) for name, value, *_ in lines}
    return Memory(kib["Pss"] * _KIB, kib["Private_Dirty"] * _KIB)


def per_frame(seconds: float, frames: int) -> float:
    """Microseconds of processor time per frame.

    :raises ValueError: there are no frames.
    """
    if frames <= 0:
        raise ValueError("no frames were sent")
    return seconds / frames * 1e6
