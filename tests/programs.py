"""Programs that tests start and Python packages do not bring: found here, or the test is skipped.

A reason to skip names the Debian packages. ``conftest.py`` prints all of them in one line at the end of the run.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

#: Each reason to skip begins with this; the rest is a list of Debian packages.
MISSING = "not installed: "
#: Of what only a newer kernel has. CI does not fail for that.
OLD_KERNEL = "kernel too old: "


def find_program(name: str) -> str | None:
    """The path of a program: beside the interpreter, on ``PATH``, or where Debian has its daemons."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]
    return shutil.which(name, path=os.pathsep.join(places))


def program(name: str, package: str) -> str:
    """The path of a program. Without it the test that asks is skipped.

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
    """Whether C extensions can be built: there are a compiler and the headers of this Python."""
    return find_program("cc") is not None and Path(sysconfig.get_path("include"), "Python.h").exists()


needs_compiler = pytest.mark.skipif(not can_compile(), reason=MISSING + "gcc libc6-dev python3-dev")
