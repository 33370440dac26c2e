"""The cases of the Autobahn Testsuite, driven by kosoku, against the daemon's own WebSocket.

Groups 1 to 7 and 10: frames, pings, reserved bits, opcodes, fragments, UTF-8, closing, fragments of a large message.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stores.ports import free_ports

pytestmark = pytest.mark.functional

ROOT = Path(__file__).parents[2]
GROUPS = (1, 2, 3, 4, 5, 6, 7, 10)
#: Of those groups. When there are fewer, something was not run.
CASES = 247
#: What the suite calls a server that does what the RFC says, or leaves it open.
GOOD = {"OK", "INFORMATIONAL"}


@pytest.fixture
def echo() -> Iterator[int]:
    """Its port."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "tests.conformance.echo", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield port
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0


def test_the_cases_of_the_autobahn_testsuite(echo: int, tmp_path: Path) -> None:
    wanted = [word for group in GROUPS for word in ("--include", f"{group}.*")]
    kosoku = Path(sys.executable).parent / "kosoku"
    command = [kosoku, *wanted, "--outdir", tmp_path, f"127.0.0.1:{echo}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    ((_, results),) = json.loads((tmp_path / "index.json").read_text()).items()
    bad = {case: found["behavior"] for case, found in results.items() if found["behavior"] not in GOOD}
    closed_badly = {case for case, found in results.items() if found["behaviorClose"] not in GOOD}
    assert (bad, closed_badly) == ({}, set())
    assert (len(results), done.returncode) == (CASES, 0)
