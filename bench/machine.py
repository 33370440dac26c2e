"""Describes the machine and the software of a measurement."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from audiohookd import __version__
from bench.cpu_affinity import Cores

_LIBRARIES = ("twisted", "autobahn", "msgspec", "boto3")


def describe(cores: Cores) -> dict[str, str]:
    """The properties of the machine and the software, by name, as text for readers."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{_system()}, Linux {platform.release()}",
        "python": platform.python_version(),
        "audiohookd": __version__,
        **{name: version(name) for name in _LIBRARIES},
        "cores": str(cores),
    }


def _processor() -> str:
    return _value(Path("/proc/cpuinfo"), "model name", ":") or platform.machine()


def _system() -> str:
    return _value(Path("/etc/os-release"), "PRETTY_NAME", "=").strip('"') or platform.system()


def _value(path: Path, name: str, separator: str) -> str:
    for line in path.read_text().splitlines() if path.exists() else ():
        key, _, value = line.partition(separator)
        if key.strip() == name:
            return value.strip()
    return ""
