"""What a process costs, as the kernel counts it."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_KIB = 1024


def processor(pid: int) -> float:
    """Seconds of processor that all threads of a process have used, those that ended included, to the nanosecond.

    The kernel's clock of that process, which ``clock_getcpuclockid`` of the C library names by the same arithmetic.
    """
    return time.clock_gettime((~pid << 3) | 2)


def stolen(processors: Iterable[int]) -> float:
    """Seconds that the machine's host gave to others while these processors, all together, had something to do."""
    return read_stolen(Path("/proc/stat").read_text(), processors)


def read_stolen(stat: str, processors: Iterable[int]) -> float:
    """What a file ``stat`` says. One line for each processor: its name, and times, the eighth of which was stolen."""
    names = {f"cpu{number}" for number in processors}
    lines = (line.split() for line in stat.splitlines() if line.startswith("cpu"))
    return sum(int(line[8]) for line in lines if line[0] in names) / os.sysconf("SC_CLK_TCK")


class Memory(NamedTuple):
    """Bytes: ``pss`` counts shared pages by their share, ``private_dirty`` is what nobody else could give back."""

    pss: int
    private_dirty: int


def memory(pid: int) -> Memory:
    """What a process has now."""
    return read_memory(Path(f"/proc/{pid}/smaps_rollup").read_text())


def read_memory(rollup: str) -> Memory:
    """What a file ``smaps_rollup`` says."""
    lines = (line.split() for line in rollup.splitlines()[1:])
    kib = {name.rstrip(":"): int(value) for name, value, *_ in lines}
    return Memory(kib["Pss"] * _KIB, kib["Private_Dirty"] * _KIB)


def per_frame(seconds: float, frames: int) -> float:
    """Microseconds of processor for each of ``frames``."""
    if frames <= 0:
        raise ValueError("no frames were sent")
    return seconds / frames * 1e6
