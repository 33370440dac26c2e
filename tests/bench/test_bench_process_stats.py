import os
import subprocess
import sys
import threading
import time

import pytest

from bench.process_stats import Memory, memory, per_frame, processor, read_memory, read_stolen, stolen

ROLLUP = """55bb2810f000-7ffe60b2c000 ---p 00000000 00:00 0                          [rollup]
Rss:                1616 kB
Pss:                 381 kB
Private_Clean:        56 kB
Private_Dirty:       112 kB
"""

STAT = """cpu  3507942 208071 837186 6246168 95840 0 120237 334884 0 0
cpu0 1207942 108071 437186 3246168 45840 0 60237 150000 0 0
cpu1 1300000 100000 400000 3000000 50000 0 60000 184884 0 0
cpu10 1 1 1 1 1 0 1 700 0 0
intr 1 2 3 4 5 6 7 8 9
"""


def test_stolen_time_is_read_per_processor() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    assert read_stolen(STAT, [0]) == 150_000 / ticks
    assert read_stolen(STAT, [1, 10]) == 185_584 / ticks
    assert stolen(os.sched_getaffinity(0)) >= 0


def test_the_clock_of_a_process_counts_its_own_time() -> None:
    before, own = processor(os.getpid()), time.process_time()
    sum(range(200_000))
    after, own_after = processor(os.getpid()), time.process_time()
    assert after - before == pytest.approx(own_after - own, abs=0.01)
    assert after > before


def test_threads_that_have_ended_count() -> None:
    before = processor(os.getpid())
    thread = threading.Thread(target=lambda: sum(range(500_000)))
    thread.start()
    thread.join()
    assert processor(os.getpid()) - before > 0.001


def test_an_idle_process_uses_no_processor_time() -> None:
    command = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        before = processor(process.pid)
        sum(range(500_000))
        assert 0 < before <= processor(process.pid) < before + 0.01
        process.communicate(b"\n")


def test_memory_is_read_from_smaps_rollup() -> None:
    assert read_memory(ROLLUP) == Memory(381 * 1024, 112 * 1024)
    mine = memory(os.getpid())
    assert 1 << 20 < mine.private_dirty <= mine.pss


def test_processor_time_per_frame_is_in_microseconds() -> None:
    assert per_frame(0.5, 12_500) == pytest.approx(40.0)
    with pytest.raises(ValueError, match="no frames"):
        per_frame(0.5, 0)
