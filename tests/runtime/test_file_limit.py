"""The limit of open files, of a process of its own each."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from audiohookd.runtime.file_limit import raise_nofile
soft, hard, needed = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
if soft == hard:
    del resource.setrlimit  # where there is nothing to raise, it is not called: it may be forbidden
print(raise_nofile(needed), *resource.getrlimit(resource.RLIMIT_NOFILE))
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
def test_the_limit_is_raised_as_far_as_needed_and_allowed(soft: int, hard: int, needed: int, becomes: str) -> None:
    command = [sys.executable, "-c", PROGRAM, str(soft), str(hard), str(needed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == becomes, done.stderr
