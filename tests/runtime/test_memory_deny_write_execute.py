"""All that reaches out of the daemon works where no memory may be writable and executable: the systemd unit says so.

Compiled libraries make callbacks out of such memory. The kernel's PR_SET_MDWE refuses it as
MemoryDenyWriteExecute=yes does; tests/functional/test_systemd_unit.py has the unit itself.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import OLD_KERNEL

TESTS = Path(__file__).parents[1]
#: TLS of our own, and each client of something else.
REACHING_OUT = (
    "edge/test_tls.py",
    "auth/test_replay_redis.py",
    "auth/test_replay_sqlite.py",
    "auth/test_secretsmanager.py",
    "auth/test_vault.py",
    "plugins/test_publish.py",
    "plugins/test_webhook_tls.py",
)
#: Runs the tests of a file. The kernel keeps the restriction over each fork and exec.
RESTRICTED = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(65, 1, 0, 0, 0):
    sys.exit("Linux before 6.3" if ctypes.get_errno() == 22 else "prctl fails")
import pytest
sys.exit(pytest.main(["-q", "-p", "no:xdist", sys.argv[1]]))
"""


@pytest.mark.parametrize("name", REACHING_OUT)
def test_nothing_needs_memory_that_is_writable_and_executable(name: str) -> None:
    command = [sys.executable, "-c", RESTRICTED, str(TESTS / name)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Linux before 6.3" in ran.stderr:
        pytest.skip(OLD_KERNEL + "PR_SET_MDWE came with Linux 6.3")
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_callback_of_cffi_is_refused() -> None:
    """So the tests above can fail."""
    source = RESTRICTED.partition("import pytest")[0] + "import cffi; cffi.FFI().callback('int(int)', abs)"
    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    if "Linux before 6.3" in ran.stderr:
        pytest.skip(OLD_KERNEL + "PR_SET_MDWE came with Linux 6.3")
    assert "MemoryError" in ran.stderr
