"""Builds wheels of this checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build_wheel(place: Path, **environment: str) -> Path:
    """Builds a wheel from a copy of the sources, because a build leaves files behind."""
    source = place / "source"
    source.mkdir()
    for name in ("audiohookd", "plugins"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.rst", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place, source, **environment)
    (wheel,) = place.glob("*.whl")
    return wheel


def run(*command: object, **environment: str) -> None:
    """Runs a command, which must succeed."""
    words = [str(part) for part in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | environment)
    assert done.returncode == 0, done.stdout + done.stderr
