"""The collector of cycles looks seldom, and never at what the start made."""

import subprocess
import sys

PROGRAM = """
import gc
from audiohookd.runtime.garbage_collection import YOUNGEST, freeze_gc

looks = []
freeze_gc()
assert gc.get_freeze_count() > 1000
gc.callbacks.append(lambda phase, about: looks.append(phase))
kept = [[] for _ in range(YOUNGEST - 1000)]
assert looks == []
kept += [[] for _ in range(2000)]
assert looks == ["start", "stop"]
"""


def test_it_stays_out_of_the_way() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
