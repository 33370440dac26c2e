"""What a process costs, as the kernel counts it."""

import time
from pathlib import Path
from typing import NamedTuple

_KIB = 1024


def processor(pid: int) -> float:
    """Seconds of processor that all threads of a process have used, those that ended included, to the nanosecond.

    The kernel's clock of that process, which ``clock_getcpuclockid`` of the C library names by the same arithmetic.
    """
    return time.clock_gettime((~pid << 3) | 2)


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
