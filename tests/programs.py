"""Finds programs that tests start and Python packages do not install. Without them, tests are skipped.

The reason of a skip names the Debian packages. ``conftest.py`` prints all of them in one line at the end of the run.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

#: The prefix of a reason. A list of Debian packages follows.
MISSING = "not installed: "
#: The prefix of a reason for tests that need a newer kernel. CI does not fail for these.
OLD_KERNEL = "kernel too old: "


def find_program(name: str) -> str | None:
    """The path of a program beside the interpreter, on ``PATH``, or in Debian's directories for daemons."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]
    return shutil.which(name, path=os.pathsep.join(places))


def program(name: str, package: str) -> str:
    """The path of a program. Skips the test if it is not installed.

    :param package: the Debian package that has the program.
    """
    path = find_program(name)
    if path is None:
        pytest.skip(MISSING + package)
    return path


def library(pattern: str, package: str) -> str:
    """The path of a shared library below ``/usr/lib``, by a pattern of names. Without it the test is skipped.

    :param package: the Debian package that has the library.
    """
    path = next(Path("/usr/lib").glob(pattern), None)
    if path is None:
        pytest.skip(MISSING + package)
    return str(path)


def can_compile() -> bool:
    """Whether C extensions can be built, which needs a compiler and the headers of this Python."""
    return find_program("cc") is not None and Path(sysconfig.get_path("include"), "Python.h").exists()


needs_compiler = pytest.mark.skipif(not can_compile(), reason=MISSING + "gcc libc6-dev python3-dev")
