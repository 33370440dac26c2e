"""Runs the cases of the Autobahn Testsuite, with kosoku, against the daemon's WebSocket.

Groups 1 to 7 and 10 run with the daemon's limits: frames, pings, reserved bits, opcodes, fragments, UTF-8, closing,
fragments of a large message. Group 9 has messages of up to 16 MiB and runs with raised limits.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.stores.ports import free_ports

pytestmark = pytest.mark.functional

ROOT = Path(__file__).parents[2]
GROUPS = (1, 2, 3, 4, 5, 6, 7, 10)
#: Number of cases in those groups, and in group 9. Fewer results mean that some did not run.
CASES = 247
LARGE_CASES = 54
#: Bytes of the longest message in group 9.
LARGEST = 16 << 20
#: Cases of group 9 that run in parallel: they mostly wait for answers.
AT_ONCE = 12
#: The verdicts of the suite for a server that conforms to the RFC.
GOOD = {"OK", "INFORMATIONAL"}


@contextmanager
def echo(*limit: int) -> Iterator[int]:
    """Starts an echo server and yields its port."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "tests.conformance.echo", *map(str, (port, *limit))]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        try:
            yield port
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0


def results(port: int, reports: Path, groups: Sequence[int], at_once: int = 1) -> dict[str, Any]:
    """Runs ``groups`` and returns the result of each case."""
    wanted = [word for group in groups for word in ("--include", f"{group}.*")]
    kosoku = Path(sys.executable).parent / "kosoku"
    command: list[Any] = [kosoku, *wanted, "-p", str(at_once), "--outdir", reports, f"127.0.0.1:{port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    ((_, found),) = json.loads((reports / "index.json").read_text()).items()
    bad = {case: result["behavior"] for case, result in found.items() if result["behavior"] not in GOOD}
    closed_badly = {case for case, result in found.items() if result["behaviorClose"] not in GOOD}
    assert (bad, closed_badly, done.returncode) == ({}, set(), 0)
    return dict(found)


def test_the_cases_of_the_autobahn_testsuite(tmp_path: Path) -> None:
    with echo() as port:
        assert len(results(port, tmp_path, GROUPS)) == CASES


def test_large_messages_with_the_limits_raised(tmp_path: Path) -> None:
    with echo(LARGEST) as port:
        assert len(results(port, tmp_path, (9,), AT_ONCE)) == LARGE_CASES
