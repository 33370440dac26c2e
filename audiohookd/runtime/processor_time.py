"""Processor time of the process and of its threads, and time that they were refused it."""

import gc
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from msgspec import Struct

Seconds = Callable[[], float]

NANOSECONDS = 1e9


class Usage(Struct, frozen=True):
    """Seconds since the start of the process, or of a thread.

    :param process: of processor time, of all threads together.
    :param threads: of processor time, by the ident of each of Python's threads.
    :param delay: that the reactor's thread waited for a processor, and ``own_delay`` that the thread did that reads.
    :param collecting: in which the garbage collector ran.
    """

    process: float = 0.0
    threads: Mapping[int, float] = {}
    delay: float = 0.0
    own_delay: float = 0.0
    collecting: float = 0.0


class UsageReader:
    """Reads them, in one thread. Started and stopped in the reactor's.

    :param seconds: from any origin, never going back.
    """

    def __init__(self, seconds: Seconds) -> None:
        self._seconds = seconds
        self._files: dict[int, int] = {}  # of the scheduler, by thread
        self._reactor_thread = 0
        self._collection_began = 0.0
        self._collecting = 0.0

    def start(self) -> None:
        """Follows the garbage collector from now on, and this thread."""
        gc.callbacks.append(self._on_collection)
        self._reactor_thread = threading.get_native_id()

    def stop(self) -> None:
        """Ends what ``start`` began. Not while another thread reads."""
        if self._on_collection in gc.callbacks:
            gc.callbacks.remove(self._on_collection)
        while self._files:
            os.close(self._files.popitem()[1])

    def read(self) -> Usage:
        """The present usage: 10 to 20 µs."""
        delay, own_delay = self._delay(self._reactor_thread), self._delay(threading.get_native_id())
        return Usage(time.process_time(), _threads(), delay, own_delay, self._collecting)

    def _delay(self, thread: int) -> float:
        try:
            if thread not in self._files:
                self._files[thread] = os.open(f"/proc/self/task/{thread}/schedstat", os.O_RDONLY)
            return int(os.pread(self._files[thread], 100, 0).split()[1]) / NANOSECONDS
        except OSError:  # a kernel without CONFIG_SCHED_INFO, or no /proc
            return 0.0

    def _on_collection(self, phase: str, _: Mapping[str, Any]) -> None:
        if phase == "start":
            self._collection_began = self._seconds()
        else:
            self._collecting += self._seconds() - self._collection_began


def _threads() -> dict[int, float]:
    found: dict[int, float] = {}
    for thread in threading.enumerate():
        if thread.ident is not None and thread.native_id is not None:
            # The number that pthread_getcpuclockid(3) makes. With a thread that has ended it crashes; the kernel only
            # refuses the number.
            with suppress(OSError):
                found[thread.ident] = time.clock_gettime((~thread.native_id << 3) | 6)
    return found
