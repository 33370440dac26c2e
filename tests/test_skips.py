"""The summary of skipped tests at the end of a run."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TESTS = """
from tests.programs import OLD_KERNEL, program
import pytest

def test_that_needs_a_program():
    program("no-such-program", package="no-such-package")

def test_that_needs_another_program():
    program("no-such-program-either", package="another-package")

def test_that_passes():
    pass
"""


def run(directory: Path, tests: str, *options: str) -> tuple[int, str]:
    (directory / "test_it.py").write_text(tests)
    command: list[Any] = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        ROOT / "setup.cfg",
        "--rootdir",
        directory,
        "-p",
        "tests.conftest",
    ]
    # Without the options of this run, because CI forbids skipped tests.
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    command += [*options, str(directory)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_all_missing_packages_are_named_in_one_line(tmp_path: Path) -> None:
    status, said = run(tmp_path, TESTS)
    assert status == 0
    assert "2 tests were skipped; for them: apt install another-package no-such-package\n" in said


def test_a_skipped_test_fails_a_run_that_forbids_it(tmp_path: Path) -> None:
    assert run(tmp_path, TESTS, "--fail-on-skip")[0] == 1


def test_an_old_kernel_fails_no_run(tmp_path: Path) -> None:
    tests = "def test_it():\n    pytest.skip(OLD_KERNEL + 'a feature')\n"
    status, said = run(tmp_path, "from tests.programs import OLD_KERNEL\nimport pytest\n\n" + tests, "--fail-on-skip")
    assert status == 0
    assert "1 tests were skipped: kernel too old: a feature\n" in said
