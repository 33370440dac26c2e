"""Settings of the process, each in a process of its own."""

import subprocess
import sys

import pytest

LIMIT_PROGRAM = """
import resource, sys
from audiohookd.runtime.process import raise_nofile
soft, hard, needed = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
if soft == hard:
    del resource.setrlimit  # where there is nothing to raise, it is not called: it may be forbidden
print(raise_nofile(needed), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""

COLLECTOR_PROGRAM = """
import gc
from audiohookd.runtime.process import YOUNGEST, freeze_gc

looks = []
freeze_gc()
assert gc.get_freeze_count() > 1000
gc.callbacks.append(lambda phase, about: looks.append(phase))
kept = [[] for _ in range(YOUNGEST - 1000)]
assert looks == []
kept += [[] for _ in range(2000)]
assert looks == ["start", "stop"]
"""


@pytest.mark.parametrize(
    ("soft", "hard", "needed", "becomes"),
    [
        (200, 800, 500, "True 500 800"),
        (200, 800, 100, "True 200 800"),
        (200, 800, 800, "True 800 800"),
        (200, 800, 900, "False 800 800"),
        (800, 800, 900, "False 800 800"),
    ],
)
def test_the_limit_of_open_files_is_raised_as_far_as_needed_and_allowed(
    soft: int, hard: int, needed: int, becomes: str
) -> None:
    command = [sys.executable, "-c", LIMIT_PROGRAM, str(soft), str(hard), str(needed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == becomes, done.stderr


def test_the_garbage_collector_seldom_runs() -> None:
    subprocess.run([sys.executable, "-c", COLLECTOR_PROGRAM], check=True, timeout=60)
